// What Electron answers where Node would let a buffer stand on an addon's own memory. Preloaded;
// the patched addons of no_external_buffers.mjs find these in place of napi's two functions.
//
// Each call leaves a letter in the file that NO_EXTERNAL_BUFFERS_CALLS names: its size is the
// number of calls, over all processes, however they end.

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

enum { napi_no_external_buffers_allowed = 22 };

static int refuse(char letter) {
  const char *path = getenv("NO_EXTERNAL_BUFFERS_CALLS");
  int file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  // A call that cannot be counted must not pass for one that never came.
  if (file < 0 || write(file, &letter, 1) != 1 || close(file) != 0) abort();
  return napi_no_external_buffers_allowed;
}

int nope_create_external_buffer(void *env, size_t length, void *data, void *finalize, void *hint,
                                void **result) {
  (void)env, (void)length, (void)data, (void)finalize, (void)hint, (void)result;
  return refuse('b');
}

int nope_create_external_arraybuffer(void *env, void *data, size_t length, void *finalize,
                                     void *hint, void **result) {
  (void)env, (void)data, (void)length, (void)finalize, (void)hint, (void)result;
  return refuse('a');
}

/*
 * What whisper.cpp and the GPU backends throw ends here: an exception that comes to Rust ends the
 * process. Vulkan throws where its device is lost or its memory runs out, and CUDA's backend calls
 * `ggml_abort`, from which an exception is thrown too. Every function that computes, allocates or
 * frees fails then as it does for other reasons, and `opuscribe_caught` of
 * src/whisper/exceptions.rs is told why. What is linked without that has the one below.
 *
 * The build scripts have the compiler include this before every C++ file, see CXXFLAGS in
 * scripts/tools.mjs. In whisper.cpp and ggml the definitions get other names, and the ones here
 * take theirs.
 */
#ifndef OPUSCRIBE_EXCEPTIONS_H
#define OPUSCRIBE_EXCEPTIONS_H

/* Definitions of their own builds: for whisper.cpp, and for ggml without its backends. */
#if defined(__cplusplus) && (defined(WHISPER_VERSION) || defined(GGML_COMMIT))

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>

#define OPUSCRIBE_HIDDEN __attribute__((visibility("hidden")))

extern "C" __attribute__((weak)) OPUSCRIBE_HIDDEN void opuscribe_caught(const char *) {}

namespace opuscribe {

/* Whether this thread is where what it throws is caught. */
OPUSCRIBE_HIDDEN inline bool &contained() {
    static thread_local bool is = false;
    return is;
}

/* ggml's last words. These backends say them on the thread that called; the CPU's may say them on
 * another, or while others wait for it, and goes on to abort. */
static void give_up(const char *message) {
    const bool throws = std::strstr(message, "ggml-cuda") || std::strstr(message, "ggml-vulkan");
    if (contained() && throws) {
        throw std::runtime_error(message);
    }
    std::fprintf(stderr, "%s\n", message);
}

template <typename Output, typename Work> static Output contain(Output failed, Work work) {
    static const bool hears = (ggml_set_abort_callback(give_up), true);
    (void)hears;
    const bool outer = contained();
    contained() = true;
    try {
        failed = work();
    } catch (const std::exception &exception) {
        opuscribe_caught(exception.what());
    } catch (...) {
        opuscribe_caught("an exception without a message");
    }
    contained() = outer;
    return failed;
}

} // namespace opuscribe

#ifdef WHISPER_VERSION

#include "whisper.h"

namespace opuscribe {

/* whisper.cpp goes on without the memory for its weights, to an assertion of ggml's. */
static ggml_backend_buffer_t weights(ggml_context *context, ggml_backend_buffer_type_t type) {
    const ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(context, type);
    if (!buffer && ggml_get_first_tensor(context)) {
        throw std::runtime_error("out of memory: the weights");
    }
    return buffer;
}

} // namespace opuscribe

#define OPUSCRIBE_CONTAIN(type, failed, name, parameters, arguments)                               \
    extern "C" OPUSCRIBE_HIDDEN type opuscribe_bare_##name parameters;                            \
    extern "C" type name parameters {                                                             \
        return opuscribe::contain<type>(failed, [&] { return opuscribe_bare_##name arguments; }); \
    }
#define OPUSCRIBE_CONTAIN_END(name, type)                                                          \
    extern "C" OPUSCRIBE_HIDDEN void opuscribe_bare_##name(type *freed);                          \
    extern "C" void name(type *freed) {                                                           \
        opuscribe::contain(0, [&] { return opuscribe_bare_##name(freed), 0; });                   \
    }

OPUSCRIBE_CONTAIN(whisper_context *, nullptr, whisper_init_from_file_with_params_no_state,
                  (const char *path, whisper_context_params params), (path, params))
OPUSCRIBE_CONTAIN(whisper_state *, nullptr, whisper_init_state, (whisper_context * context),
                  (context))
OPUSCRIBE_CONTAIN(int, -1, whisper_pcm_to_mel_with_state,
                  (whisper_context * context, whisper_state *state, const float *samples, int count,
                   int threads),
                  (context, state, samples, count, threads))
OPUSCRIBE_CONTAIN(int, -1, whisper_set_mel_with_state,
                  (whisper_context * context, whisper_state *state, const float *data, int frames,
                   int bands),
                  (context, state, data, frames, bands))
OPUSCRIBE_CONTAIN(int, -1, whisper_encode_with_state,
                  (whisper_context * context, whisper_state *state, int offset, int threads),
                  (context, state, offset, threads))
OPUSCRIBE_CONTAIN(int, -1, whisper_decode_with_state,
                  (whisper_context * context, whisper_state *state, const whisper_token *tokens,
                   int count, int past, int threads),
                  (context, state, tokens, count, past, threads))
OPUSCRIBE_CONTAIN(int, -1, whisper_full_with_state,
                  (whisper_context * context, whisper_state *state, whisper_full_params params,
                   const float *samples, int count),
                  (context, state, params, samples, count))
OPUSCRIBE_CONTAIN(int, -1, whisper_tokenize,
                  (whisper_context * context, const char *text, whisper_token *tokens, int most),
                  (context, text, tokens, most))
OPUSCRIBE_CONTAIN_END(whisper_free_state, whisper_state)
OPUSCRIBE_CONTAIN_END(whisper_free, whisper_context)

#undef OPUSCRIBE_CONTAIN
#undef OPUSCRIBE_CONTAIN_END

#define ggml_backend_alloc_ctx_tensors_from_buft opuscribe::weights
#define whisper_init_from_file_with_params_no_state                                                \
    opuscribe_bare_whisper_init_from_file_with_params_no_state
#define whisper_init_state opuscribe_bare_whisper_init_state
#define whisper_pcm_to_mel_with_state opuscribe_bare_whisper_pcm_to_mel_with_state
#define whisper_set_mel_with_state opuscribe_bare_whisper_set_mel_with_state
#define whisper_encode_with_state opuscribe_bare_whisper_encode_with_state
#define whisper_decode_with_state opuscribe_bare_whisper_decode_with_state
#define whisper_full_with_state opuscribe_bare_whisper_full_with_state
#define whisper_tokenize opuscribe_bare_whisper_tokenize
#define whisper_free_state opuscribe_bare_whisper_free_state
#define whisper_free opuscribe_bare_whisper_free

#else

/* Nothing where a driver does not tell. Each file of ggml's has this; they are one. */
extern "C" OPUSCRIBE_HIDDEN void opuscribe_bare_memory(ggml_backend_dev_t, size_t *, size_t *);
extern "C" __attribute__((weak)) void ggml_backend_dev_memory(ggml_backend_dev_t device,
                                                              size_t *free, size_t *total) {
    *free = *total = 0;
    opuscribe::contain(0, [&] { return opuscribe_bare_memory(device, free, total), 0; });
}

#define ggml_backend_dev_memory opuscribe_bare_memory

#endif
#endif
#endif

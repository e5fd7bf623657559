// The preload script of the same page in Electron: packets go to the main process, events come back.
// The main process writes what comes on 'captions:packet' into a stream, and sends its events on
// 'captions:event' to the window's webContents.

const { contextBridge, ipcRenderer } = require('electron');

contextBridge.exposeInMainWorld('captions', {
  send: (packet) => ipcRenderer.send('captions:packet', packet),
  onEvent: (take) => {
    ipcRenderer.on('captions:event', (_, event) => take(event));
  },
});

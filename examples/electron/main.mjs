// The main process: one window, and one utility process with the model. It connects them by a message port and takes no
// part in what they say.

import { join } from 'node:path';
import { app, BrowserWindow, MessageChannelMain, utilityProcess } from 'electron';

const folder = import.meta.dirname;

await app.whenReady();
const window = new BrowserWindow({
  width: 900,
  height: 640,
  webPreferences: {
    preload: join(folder, 'preload.cjs'),
    sandbox: true,
    contextIsolation: true,
    nodeIntegration: false,
  },
});

const engine = utilityProcess.fork(join(folder, 'engine.mjs'), [], { serviceName: 'gpt2-native' });
const { port1, port2 } = new MessageChannelMain();
engine.postMessage('connect', [port1]);
// A page that is loaded again has a new preload script, but the port can be passed on once only.
window.webContents.once('did-finish-load', () => {
  window.webContents.postMessage('engine', null, [port2]);
});
window.webContents.setWindowOpenHandler(() => ({ action: 'deny' }));
window.webContents.on('will-navigate', (event) => event.preventDefault());
await window.loadFile(join(folder, 'window.html'));

app.on('window-all-closed', () => app.quit());

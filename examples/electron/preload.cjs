// @ts-check
// Gives the page a bridge of two functions. The port itself cannot pass into the page's world.

const { contextBridge, ipcRenderer } = require('electron');

/** @type {(port: MessagePort) => void} */
let connect;
/** @type {Promise<MessagePort>} */
const connected = new Promise((resolve) => {
  connect = resolve;
});
ipcRenderer.once('engine', ({ ports: [port] }) => connect(/** @type {MessagePort} */ (port)));

/** @type {import('./messages.js').Engine} */
const engine = {
  send: (request) => void connected.then((port) => port.postMessage(request)),
  onReply: (receive) =>
    void connected.then((port) => {
      port.onmessage = ({ data }) => receive(data);
    }),
};
contextBridge.exposeInMainWorld('engine', engine);

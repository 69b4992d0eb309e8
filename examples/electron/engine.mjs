// The utility process: loads the model and answers the requests of one port.

import { loadModel } from 'gpt2-native';
import { serve } from './serve.mjs';

process.parentPort.once('message', ({ ports: [port] }) => {
  serve(/** @type {import('./messages.js').Port} */ (/** @type {unknown} */ (port)), loadModel);
});

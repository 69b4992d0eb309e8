// What this library uses of @huggingface/hub. scripts/build-lib.mjs bundles it into this module.
export { listFiles, modelInfo } from '@huggingface/hub';

// The width of a text in columns of a terminal. scripts/build-lib.mjs bundles string-width into this module.
// @ts-expect-error: an ES module, which Node 20.17 cannot require; in the bundle it is none.
export { default as stringWidth } from 'string-width';

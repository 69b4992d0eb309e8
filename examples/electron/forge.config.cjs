// The addon and the default model are files that the system opens, so they lie beside the archive.
module.exports = {
  packagerConfig: {
    asar: { unpack: '**/node_modules/gpt2-native/{prebuilds,models}/**' },
  },
};

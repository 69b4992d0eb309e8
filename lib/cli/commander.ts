// What the command uses of commander. scripts/build-lib.mjs bundles it into this module.
export { Command, CommanderError, InvalidArgumentError, Option } from 'commander';

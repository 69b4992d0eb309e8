// What the command uses of commander. scripts/build-lib.mjs bundles it into this module.
export { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';

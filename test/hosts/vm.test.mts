import * as gpt2 from '../../dist/index.js';
import suite from './suite.cjs';

suite(gpt2);

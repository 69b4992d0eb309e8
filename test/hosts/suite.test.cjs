require('./suite.cjs')(require('../../dist/index.js'));

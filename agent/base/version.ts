/** Same as in package.json (a test compares them): a constant survives bundling. */
export const VERSION = '0.1.0';

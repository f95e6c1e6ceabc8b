/** AssemblyScript's 32-bit integer, for the TypeScript compiler. */
type i32 = number;

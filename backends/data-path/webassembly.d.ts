/** As much of it as is used here: Node's types leave it to the browser's. */
declare namespace WebAssembly {
  function validate(bytes: Uint8Array): boolean;

  class Module {
    constructor(bytes: Uint8Array);
  }

  class Instance {
    constructor(module: Module);
    readonly exports: Readonly<Record<string, unknown>>;
  }

  class Memory {
    private constructor();
    readonly buffer: ArrayBuffer;
  }
}

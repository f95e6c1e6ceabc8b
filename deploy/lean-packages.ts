/**
 * What packages do at every start although an agent needs it late or never: each of these takes a millisecond or more of
 * the time until the subnet file is there.
 */
import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';

/** Node's pattern of an IPv6 address takes longer to compile than a start takes to connect; gRPC asks of every address. */
const NET = `const net = require('node:net');
const isIPv6 = (text) => String(text).includes(':') && net.isIPv6(text);
module.exports = Object.create(net, { isIPv6: { value: isIPv6 } });`;

/** The module at its first use. */
const late = (name: string): string =>
  `module.exports = new Proxy({}, { get: (_, name) => require('node:${name}')[name] });`;

/** Searches the package's directories for what is nearly always in one place. */
const NODE_GYP_BUILD = `const { existsSync } = require('node:fs');
const { createRequire } = require('node:module');
const { join } = require('node:path');
module.exports = () => {
  const file = require.resolve('netlink/package.json');
  const directory = join(file, '..');
  if (!process.env.NETLINK_PREBUILD && !existsSync(join(directory, 'build'))) {
    try {
      return require(join(directory, 'prebuilds', 'linux-' + process.arch, 'node.napi.node'));
    } catch {}
  }
  return createRequire(file)('node-gyp-build')(directory);
};`;

/** Modules that stand in, by who asks for which. */
const STAND_INS: readonly { readonly from: RegExp; readonly asks: RegExp; readonly text: string }[] = [
  { from: /\/@grpc\/grpc-js\//, asks: /^net$/, text: NET },
  { from: /\/@grpc\/grpc-js\//, asks: /^dns$/, text: late('dns') },
  { from: /\/@grpc\/grpc-js\//, asks: /^zlib$/, text: late('zlib') },
  { from: /\/netlink\//, asks: /^node-gyp-build$/, text: NODE_GYP_BUILD },
];

/** It has its division by WebAssembly where there is some, and does without: to compile that takes longer than all of it. */
const LONG = /\/long\/umd\/index\.js$/;

export const leanPackages: Plugin = {
  name: 'lean-packages',
  setup({ onResolve, onLoad }) {
    for (const [place, { from, asks, text }] of STAND_INS.entries()) {
      const namespace = `lean-${place}`;
      onResolve({ filter: asks }, ({ path, importer }) => (from.test(importer) ? { path, namespace } : undefined));
      onResolve({ filter: /./, namespace }, ({ path }) => ({ path, external: true }));
      onLoad({ filter: /./, namespace }, () => ({ contents: text }));
    }
    onLoad({ filter: LONG }, ({ path }) => ({
      contents: `const WebAssembly = undefined;\n${readFileSync(path, 'utf8')}`,
    }));
  },
};

/** Under CI properties look at the same cases each time: a red run is then the change's doing. By hand they look anew. */
import fc from 'fast-check';

if (process.env['CI'] === 'true') fc.configureGlobal({ seed: 20_261_121 });

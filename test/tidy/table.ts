/**
 * The import table of DESIGN.md and ARCHITECTURE.md: a folder of `src/` imports only from the ones named here (and from
 * itself). The order is the order of the floors; a folder never imports from one further down.
 */
export const TABLE: Readonly<Record<string, readonly string[]>> = {
  base: [],
  model: ['base'],
  wire: ['base'],
  sql: ['base', 'model'],
  journal: ['base', 'model'],
  store: ['base', 'model', 'journal'],
  access: ['base', 'model', 'sql', 'store'],
  transport: ['base', 'model'],
  'witness/proxy': ['base', 'model', 'wire', 'sql', 'journal', 'store', 'access', 'transport'],
  'witness/probe': ['base', 'model', 'wire', 'sql', 'journal'],
  'witness/ddl': ['base', 'model', 'journal', 'transport'],
  'witness/stream': ['base', 'model', 'wire', 'sql', 'journal', 'transport'],
  reconcile: ['base', 'model', 'store'],
  notify: ['base', 'model'],
  api: ['base', 'model', 'store', 'access', 'journal', 'reconcile'],
  app: [
    'base',
    'model',
    'wire',
    'sql',
    'journal',
    'store',
    'access',
    'transport',
    'witness/proxy',
    'witness/probe',
    'witness/ddl',
    'witness/stream',
    'reconcile',
    'notify',
    'api',
  ],
  cli: ['base', 'model', 'sql', 'journal', 'store', 'api', 'app', 'witness/probe'],
};

/** These read the journal and never append to it. */
export const JOURNAL_READERS: readonly string[] = ['store', 'api'];
/** The journal's append side, by file. */
export const JOURNAL_APPEND_SIDE: readonly string[] = ['src/journal/appender.ts'];

/** No I/O in these: files, sockets, processes and threads are passed in. */
export const PURE: readonly string[] = ['base', 'model', 'wire', 'sql'];
export const IO_MODULES: readonly string[] = [
  'child_process',
  'cluster',
  'dgram',
  'dns',
  'fs',
  'http',
  'http2',
  'https',
  'net',
  'tls',
];

/** The folder of the table that a file of `src/` is in, or `null` when the table does not know it. */
export function folderOf(path: string): string | null {
  const [root, first, second] = path.split('/');
  if (root !== 'src') return null;
  const folder = first === 'witness' ? `witness/${second}` : first;
  return Object.hasOwn(TABLE, folder) ? folder : null;
}

/** `postgres` for src/witness/proxy/postgres/…; `null` for what all engines of a witness share. */
export function engineOf(path: string): string | null {
  const match = /^src\/witness\/[^/]+\/([^/]+)\//.exec(path);
  return match === null ? null : match[1];
}

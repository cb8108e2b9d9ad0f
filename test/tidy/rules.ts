/** The rules of the house, each a function from a parsed file to what is wrong with it. */
import { posix } from 'node:path';
import { isNode, nameOf, type Node, type Source } from './source.ts';
import {
  engineOf,
  folderOf,
  IO_MODULES,
  JOURNAL_APPEND_SIDE,
  JOURNAL_READERS,
  PURE,
  TABLE,
} from './table.ts';

export const MAX_FILE_LINES = 500;
export const MAX_FUNCTION_LINES = 80;

export interface Facts {
  /** Names of `dependencies` in package.json. */
  readonly dependencies: ReadonlySet<string>;
  /** Whether a file of the project exists. */
  exists(path: string): boolean;
}

/** Everything wrong with one file, as `path:line: what`. */
export function violations(source: Source, facts: Facts): string[] {
  const found = [...sizes(source), ...calls(source), ...comments(source)];
  if (source.path.startsWith('src/')) found.push(...imports(source, facts));
  return found.map(([line, what]) => `${source.path}:${line}: ${what}`);
}

type Finding = readonly [line: number, what: string];

function isTest(path: string): boolean {
  return /\.(test|nightly)\.ts$/.test(path);
}

function imports(source: Source, facts: Facts): Finding[] {
  const folder = folderOf(source.path);
  if (folder === null) return [[1, 'is in no folder that the import table knows']];
  return source.imports.flatMap(({ specifier, line }): Finding[] => {
    if (specifier === null) return [[line, 'imports something that is not a constant']];
    const what = specifier.startsWith('.')
      ? relativeImport(source.path, folder, specifier, facts)
      : packageImport(source.path, folder, specifier, facts);
    return what === null ? [] : [[line, what]];
  });
}

function relativeImport(path: string, folder: string, specifier: string, facts: Facts): string | null {
  const target = posix.normalize(posix.join(posix.dirname(path), specifier));
  if (!facts.exists(target)) return `imports ${target}, which does not exist`;
  if (isTest(path) && target.startsWith('test/servers/')) return null;
  const other = folderOf(target);
  if (other === null) return `imports ${target}, outside of the table`;
  if (!isTest(path) && isTest(target)) return `imports a test, ${target}`;
  if (other === folder) {
    const [mine, its] = [engineOf(path), engineOf(target)];
    return mine !== null && its !== null && mine !== its
      ? `an engine imports another: ${mine} → ${its}`
      : null;
  }
  // A test may use every floor above its own; the shipped files only what the table names.
  const floors = Object.keys(TABLE);
  const above = floors.indexOf(other) < floors.indexOf(folder) && !other.startsWith('witness/');
  if (isTest(path) && above) return null;
  if (!TABLE[folder].includes(other)) return `${folder} must not import ${other} (${target})`;
  if (JOURNAL_READERS.includes(folder) && JOURNAL_APPEND_SIDE.includes(target))
    return `${folder} only reads the journal, and must not import ${target}`;
  return null;
}

function packageImport(path: string, folder: string, specifier: string, facts: Facts): string | null {
  if (specifier.startsWith('node:')) {
    const name = specifier.slice('node:'.length).split('/')[0];
    return PURE.includes(folder) && IO_MODULES.includes(name) && !isTest(path)
      ? `${folder} does no I/O, and must not import ${specifier}`
      : null;
  }
  if (isTest(path)) return null;
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  return facts.dependencies.has(name)
    ? null
    : `imports ${name}, which is not in dependencies of package.json`;
}

function sizes(source: Source): Finding[] {
  const found: Finding[] = [];
  if (source.lines > MAX_FILE_LINES)
    found.push([1, `has ${source.lines} lines, more than ${MAX_FILE_LINES}: two purposes are two files`]);
  if (source.path.startsWith('test/') || isTest(source.path)) return found;
  for (const node of source.nodes) {
    if (!/^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type)) continue;
    const line = source.lineOf(node.start);
    const lines = source.lineOf(node.end) - line + 1;
    if (lines > MAX_FUNCTION_LINES)
      found.push([line, `a function of ${lines} lines, more than ${MAX_FUNCTION_LINES}`]);
  }
  return found;
}

function calls(source: Source): Finding[] {
  return source.nodes.flatMap((node): Finding[] => {
    const what = bannedHere(source.path, node);
    return what === null ? [] : [[source.lineOf(node.start), what]];
  });
}

function bannedHere(path: string, node: Node): string | null {
  if (node.type === 'TSAsExpression' || node.type === 'TSTypeAssertion')
    return isNode(node['typeAnnotation']) && node['typeAnnotation'].type === 'TSAnyKeyword'
      ? 'casts to any'
      : null;
  if (node.type === 'MemberExpression') return bannedMember(path, nameOf(node));
  if (node.type === 'NewExpression') return bannedNew(path, node);
  if (isTest(path) && node.type === 'ImportDeclaration' && isTimers(node))
    return 'a test sleeps (timers/promises): wait for a condition, test/servers/wait.ts';
  return null;
}

function bannedMember(path: string, name: string): string | null {
  const shipped = path.startsWith('src/') && !isTest(path);
  if (name === 'Math.random') return 'Math.random: pass randomness in, from a printed seed or node:crypto';
  if (/^(it|test|describe)\.(only|skip|todo)$/.test(name))
    return `${name}: a test that does not run is no test`;
  if (!shipped) return null;
  const cli = path.startsWith('src/cli/');
  if (name.startsWith('console.') && !cli) return `${name}: log through the logger that is passed in`;
  // The entry of a process of our own (app/relay/main.ts) may end it, as cli/ does.
  const entry = cli || /^src\/app\/(?:.*\/)?main\.ts$/.test(path);
  if (name === 'process.exit' && !entry) return 'process.exit: only cli/ and the main.ts of a process end it';
  if (name === 'Date.now' && path !== 'src/base/clock.ts') return 'Date.now: a Clock is passed in';
  return null;
}

function bannedNew(path: string, node: Node): string | null {
  const name = nameOf(node['callee']);
  const args = node['arguments'] as readonly unknown[];
  const shipped = path.startsWith('src/') && !isTest(path);
  if (name === 'Date' && args.length === 0 && shipped) return 'new Date(): a Clock is passed in';
  if (name === 'Promise' && isTest(path) && isSleep(args[0]))
    return 'a test sleeps: wait for a condition, test/servers/wait.ts';
  return null;
}

/** `(done) => setTimeout(done, …)`, with or without braces: time passes, nothing is looked at. */
function isSleep(executor: unknown): boolean {
  if (!isNode(executor) || !Array.isArray(executor['params'])) return false;
  const resolve = nameOf((executor['params'] as unknown[])[0]);
  let body: unknown = executor['body'];
  if (isNode(body) && body.type === 'BlockStatement') {
    const statements = body['body'] as readonly Node[];
    if (statements.length !== 1 || statements[0].type !== 'ExpressionStatement') return false;
    body = statements[0]['expression'];
  }
  if (!isNode(body) || body.type !== 'CallExpression' || nameOf(body['callee']) !== 'setTimeout')
    return false;
  return nameOf((body['arguments'] as unknown[])[0]) === resolve;
}

function isTimers(node: Node): boolean {
  return isNode(node['source']) && /^(node:)?timers\/promises$/.test(String(node['source']['value']));
}

function comments(source: Source): Finding[] {
  return source.comments.flatMap(({ value, line }): Finding[] => {
    const open = /\b(TODO|FIXME|XXX)\b/.exec(value);
    if (open !== null) return [[line, `${open[1]}: finish it`]];
    return /@ts-(ignore|nocheck)\b/.test(value) ? [[line, 'switches the type checker off']] : [];
  });
}

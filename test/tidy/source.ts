/** One source file, parsed: what it imports and every node of its syntax tree, for the rules of `rules.ts`. */
import { parseSync } from 'oxc-parser';

/** Any node of the ESTree that oxc-parser makes. */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

export interface Import {
  /** As written: "./a.ts", "node:fs", "pg". `null`: not a constant. */
  readonly specifier: string | null;
  readonly line: number;
}

export interface Source {
  /** From the root of the project, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly imports: readonly Import[];
  readonly nodes: readonly Node[];
  readonly comments: readonly { readonly value: string; readonly line: number }[];
  lineOf(offset: number): number;
}

/** Parses; throws when the text is not valid TypeScript (or JavaScript, by its name). */
export function parseSource(path: string, text: string): Source {
  const result = parseSync(path, text);
  const failure = result.errors.at(0);
  if (failure !== undefined) throw new Error(`${path}: ${failure.message}`);
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  const lineOf = (offset: number): number => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
  const nodes = allNodes(result.program);
  return {
    path,
    text,
    lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0),
    imports: nodes.flatMap((node) => importOf(node, lineOf)),
    nodes,
    comments: result.comments.map((comment) => ({ value: comment.value, line: lineOf(comment.start) })),
    lineOf,
  };
}

/** Every way in which one module can refer to another. */
function importOf(node: Node, lineOf: (offset: number) => number): Import[] {
  const line = lineOf(node.start);
  switch (node.type) {
    case 'ImportDeclaration': // import …, import type …
    case 'ExportAllDeclaration': // export * from …
    case 'ImportExpression': // import(…)
    case 'TSImportType': // typeof import('…')
      return [{ specifier: literal(node['source']), line }];
    case 'ExportNamedDeclaration': // export { … } from …
      return isNode(node['source']) ? [{ specifier: literal(node['source']), line }] : [];
    case 'TSExternalModuleReference': // import x = require('…')
      return [{ specifier: literal(node['expression']), line }];
    case 'CallExpression': // require('…')
      return nameOf(node['callee']) === 'require' ? [{ specifier: firstLiteral(node), line }] : [];
    case 'NewExpression': {
      // new URL('./worker.ts', import.meta.url): a file that is run or read
      const args = node['arguments'] as readonly Node[];
      if (nameOf(node['callee']) !== 'URL' || args.length < 2 || nameOf(args[1]) !== 'import.meta.url')
        return [];
      const file = literal(args[0]);
      return file !== null && /\.[cm]?[jt]s$/.test(file) ? [{ specifier: file, line }] : [];
    }
    default:
      return [];
  }
}

function firstLiteral(call: Node): string | null {
  return literal((call['arguments'] as readonly unknown[])[0]);
}

function literal(node: unknown): string | null {
  if (!isNode(node)) return null;
  if (node.type === 'Literal' && typeof node['value'] === 'string') return node['value'];
  if (node.type === 'TSLiteralType') return literal(node['literal']);
  return null;
}

/** `a`, `a.b`, `import.meta.url`; empty for anything else. */
export function nameOf(node: unknown): string {
  if (!isNode(node)) return '';
  if (node.type === 'Identifier') return String(node['name']);
  if (node.type === 'MetaProperty') return `${nameOf(node['meta'])}.${nameOf(node['property'])}`;
  if (node.type === 'MemberExpression') {
    const property = node['computed'] === true ? literal(node['property']) : nameOf(node['property']);
    const object = nameOf(node['object']);
    return object === '' || property === null ? '' : `${object}.${property}`;
  }
  return '';
}

export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

function allNodes(root: unknown): Node[] {
  const found: Node[] = [];
  const queue: unknown[] = [root];
  while (queue.length > 0) {
    const next = queue.pop();
    if (Array.isArray(next)) queue.push(...(next as unknown[]));
    else if (isNode(next)) {
      found.push(next);
      for (const [key, value] of Object.entries(next)) if (key !== 'parent') queue.push(value);
    }
  }
  return found.toSorted((a, b) => a.start - b.start);
}

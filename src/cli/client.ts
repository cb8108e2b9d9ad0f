/** The REST API as a client: over the control socket, or over TCP with an API key. Problems come back as AppErrors. */
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Problem } from '../api/contract/common.ts';
import { AppError, type ErrorKind, messageOf, systemErrorCode } from '../base/errors.ts';
import type { NodeAddress } from './locate.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

interface PageOf<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/** What the API gives at most at once. */
const MAX_PAGE = 500;
/** An answer is one page, or the recorded rows of one statement. */
const MAX_ANSWER_BYTES = 1024 * 1024 * 1024;

export class ApiClient {
  readonly #node: NodeAddress;

  constructor(node: NodeAddress) {
    this.#node = node;
  }

  get address(): NodeAddress {
    return this.#node;
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.#call<T>('GET', path, query);
  }

  post<T>(path: string, body: object = {}): Promise<T> {
    return this.#call<T>('POST', path, {}, body);
  }

  patch<T>(path: string, body: object): Promise<T> {
    return this.#call<T>('PATCH', path, {}, body);
  }

  async delete(path: string): Promise<void> {
    await this.#call<null>('DELETE', path, {});
  }

  /** Page by page, `limit` items at most. */
  async *pages<T>(path: string, query: Query = {}, limit = Infinity): AsyncGenerator<readonly T[]> {
    let cursor: string | undefined;
    for (let left = limit; left > 0; ) {
      const page = await this.get<PageOf<T>>(path, { ...query, cursor, limit: Math.min(left, MAX_PAGE) });
      yield page.items;
      left -= page.items.length;
      if (page.next_cursor === null) return;
      cursor = page.next_cursor;
    }
  }

  async all<T>(path: string, query: Query = {}, limit = Infinity): Promise<T[]> {
    const items: T[] = [];
    for await (const page of this.pages<T>(path, query, limit)) items.push(...page);
    return items;
  }

  async #call<T>(method: string, path: string, query: Query, body?: object): Promise<T> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) search.set(name, String(value));
    const target = `/api/v1${path}${search.size > 0 ? `?${search.toString()}` : ''}`;
    const payload = body === undefined ? null : Buffer.from(JSON.stringify(body));
    const answer = await this.#exchange(method, target, payload);
    if (answer.status >= 300) throw problemOf(answer);
    if (answer.status === 204 || answer.body.length === 0) return null as T;
    return parse(answer.body) as T;
  }

  #exchange(method: string, target: string, payload: Buffer | null): Promise<Answer> {
    const node = this.#node;
    const headers: Record<string, string> = { accept: 'application/json' };
    if (payload !== null) headers['content-type'] = 'application/json';
    if (payload !== null) headers['content-length'] = String(payload.length);
    const options: RequestOptions = { method, headers };
    if (node.kind === 'url') headers['authorization'] = `Bearer ${node.apiKey}`;
    return new Promise((resolve, reject) => {
      const onAnswer = (message: IncomingMessage): void => void read(message).then(resolve, reject);
      const sent =
        node.kind === 'socket'
          ? httpRequest({ ...options, socketPath: node.path, path: target }, onAnswer)
          : (node.url.protocol === 'https:' ? httpsRequest : httpRequest)(
              new URL(`${node.url.pathname.replace(/\/+$/, '')}${target}`, node.url),
              options,
              onAnswer,
            );
      sent.once('error', (error) => reject(unreachable(node, error)));
      sent.end(payload ?? undefined);
    });
  }
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

async function read(message: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES)
      throw new AppError('exhausted', 'CLI_ANSWER_TOO_LARGE', 'the answer has more than 1 GiB; ask for less');
  }
  return { status: message.statusCode ?? 0, body: Buffer.concat(chunks) };
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    throw new AppError(
      'protocol',
      'CLI_NO_JSON',
      'the answer is not JSON: is this the address of a dbwitness API?',
    );
  }
}

const KIND_BY_STATUS: Readonly<Record<number, ErrorKind>> = {
  401: 'denied',
  403: 'denied',
  404: 'not-found',
  409: 'conflict',
  429: 'exhausted',
  500: 'corrupt',
  503: 'unavailable',
};

/** RFC 9457 back into the failure that it was made from. */
function problemOf(answer: Answer): AppError {
  const problem = parse(answer.body) as Partial<Problem>;
  if (typeof problem.code !== 'string' || typeof problem.detail !== 'string')
    return new AppError(
      'protocol',
      'CLI_NO_PROBLEM',
      `the server answered ${answer.status}, but not as dbwitness does: is this the address of a dbwitness API?`,
    );
  return new AppError(KIND_BY_STATUS[answer.status] ?? 'invalid', problem.code, problem.detail, {
    details: problem.details ?? {},
  });
}

function unreachable(node: NodeAddress, error: Error): AppError {
  const code = systemErrorCode(error);
  if (node.kind === 'url')
    return new AppError(
      'unavailable',
      'CLI_UNREACHABLE',
      `the API at ${node.url.origin} cannot be reached (${code ?? messageOf(error)}); check DBW_URL`,
      { cause: error },
    );
  if (code === 'EACCES')
    return new AppError(
      'denied',
      'CLI_SOCKET_DENIED',
      `the control socket ${node.path} is closed to this user; run this as the user that dbwitness runs as, or set DBW_URL and DBW_API_KEY`,
      { cause: error },
    );
  return new AppError(
    'unavailable',
    'CLI_NOTHING_RUNS',
    `no dbwitness runs in ${node.dataDir}${code === 'ENOENT' || code === 'ECONNREFUSED' ? '' : ` (${code ?? messageOf(error)})`}; start it with \`dbwitness up\` or \`npm run demo\`, or name another with --data-dir, DBW_DATA_DIR or DBW_URL`,
    { cause: error },
  );
}

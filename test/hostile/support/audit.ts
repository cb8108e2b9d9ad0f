/** What dbwitness recorded, asked of its REST API, for the sessions of raw clients. */
import { RawClient } from '../../conformance/postgres/raw-client.ts';
import { type Access, type ApiObject, type Dbwitness, waitFor } from '../../servers/index.ts';
import { errorFields } from './bare-socket.ts';

export interface Recorded {
  readonly uid: string;
  readonly ordinal: number;
  readonly kind: string;
  readonly sql: string;
  readonly params: readonly unknown[] | null;
  readonly tag: string;
  readonly rows: number;
  readonly bytes: number;
  readonly outcome: string;
  readonly decision: string;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly truncated: boolean;
}

interface Page<Item> {
  readonly items: readonly Item[];
  readonly next_cursor: string | null;
}

let clients = 0;

/** A client whose session can be found again. */
export class AuditedClient {
  readonly raw: RawClient;
  readonly name: string;
  readonly #node: Dbwitness;
  readonly #access: Access;
  #seen = 0;

  private constructor(node: Dbwitness, access: Access, raw: RawClient, name: string) {
    this.#node = node;
    this.#access = access;
    this.raw = raw;
    this.name = name;
    this.#seen = raw.received.length;
  }

  static async connect(
    node: Dbwitness,
    access: Access,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<AuditedClient> {
    const name = `client ${++clients}`;
    const raw = await RawClient.connect(access, { application_name: name, ...parameters });
    return new AuditedClient(node, access, raw, name);
  }

  /** Sends everything at once and gives what came back up to the last ReadyForQuery: one line per message. */
  async exchange(...messages: readonly Buffer[]): Promise<string[]> {
    this.raw.send(...messages);
    await this.raw.until('Z', messages.filter((one) => 'SQF'.includes(String.fromCharCode(one[0]))).length);
    return this.lines();
  }

  /** What came since the last look, one line per message: the type, and what says most of it. */
  lines(): string[] {
    const fresh = this.raw.received.slice(this.#seen);
    this.#seen = this.raw.received.length;
    return fresh.map(({ type, body }) => {
      if (type === 'E') return `E ${errorFields(body)['C']} ${errorFields(body)['M']}`;
      if (type === 'Z' || type === 'C') return `${type} ${body.toString().replaceAll('\0', '')}`;
      return type;
    });
  }

  async session(): Promise<ApiObject> {
    return waitFor(`the session of ${this.name}`, async () => {
      const { items } = await this.#node.api<Page<ApiObject>>(
        'GET',
        `/sessions?user=${this.#access.userUid}&limit=500`,
      );
      return items.find((one) => one['application_name'] === this.name);
    });
  }

  /** Ends the session, waits until its end is indexed, and gives its statements in order. */
  async statements(): Promise<Recorded[]> {
    await this.raw.end();
    return this.recorded();
  }

  /** The statements of a session that has ended, in order. */
  async recorded(): Promise<Recorded[]> {
    await this.closed();
    const { uid } = await this.session();
    const found: Recorded[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Page<Recorded> = await this.#node.api(
        'GET',
        `/statements?session_uid=${uid}&limit=500${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      found.push(...page.items);
      cursor = page.next_cursor;
    }
    return found.toSorted((a, b) => a.ordinal - b.ordinal);
  }

  async closed(): Promise<ApiObject> {
    return waitFor(`the end of ${this.name} in the index`, async () => {
      const session = await this.session();
      return session['closed_at'] === null ? null : session;
    });
  }
}

/** `sql → outcome`, with the SQLSTATE of a failure: what most tests compare. */
export function outcomes(statements: readonly Recorded[]): string[] {
  return statements.map(
    ({ sql, outcome, error }) => `${sql} → ${outcome}${error === null ? '' : ` ${error.code}`}`,
  );
}

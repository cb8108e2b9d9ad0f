/** Raw MySQL clients whose sessions can be found again in what dbwitness recorded. */
import { packet, queryPayload, type RawOptions, RawMysql } from '../../conformance/mysql/raw-client.ts';
import { type Access, type ApiObject, type Dbwitness, waitFor } from '../../servers/index.ts';
import type { Recorded } from './audit.ts';

interface Page<Item> {
  readonly items: readonly Item[];
  readonly next_cursor: string | null;
}

let clients = 0;

export class AuditedMysql {
  readonly raw: RawMysql;
  readonly name: string;
  readonly #node: Dbwitness;
  readonly #access: Access;

  private constructor(node: Dbwitness, access: Access, raw: RawMysql, name: string) {
    this.#node = node;
    this.#access = access;
    this.raw = raw;
    this.name = name;
  }

  static async connect(node: Dbwitness, access: Access, options: RawOptions = {}): Promise<AuditedMysql> {
    const name = `mysql client ${++clients}`;
    const raw = await RawMysql.connect(access, {
      ...options,
      attributes: { program_name: name, ...options.attributes },
    });
    return new AuditedMysql(node, access, raw, name);
  }

  /** Sends several queries at once. */
  pipeline(...texts: readonly string[]): void {
    this.raw.send(...texts.map((sql) => packet(queryPayload(this.raw.capabilities, sql))));
  }

  /** Its sessions, oldest first: COM_CHANGE_USER makes another one. */
  async sessions(): Promise<ApiObject[]> {
    const { items } = await this.#node.api<Page<ApiObject>>(
      'GET',
      `/sessions?user=${this.#access.userUid}&limit=500`,
    );
    return items
      .filter((one) => one['application_name'] === this.name)
      .toSorted((a, b) => String(a['opened_at']).localeCompare(String(b['opened_at'])));
  }

  /** Ends the session, waits until its end is indexed, and gives its statements in order. */
  async statements(): Promise<Recorded[]> {
    await this.raw.quit();
    return this.recorded();
  }

  /** The statements of the oldest session of this name, which has ended or will, in order. */
  async recorded(): Promise<Recorded[]> {
    const uid = await waitFor(
      `the end of ${this.name} in the index`,
      async () => {
        const [session] = await this.sessions();
        return session !== undefined && session['closed_at'] !== null ? session.uid : null;
      },
      // The index gives way to what else runs on the machine; asking costs what it gives way to.
      { timeoutMs: 50_000, everyMs: 100 },
    );
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
}

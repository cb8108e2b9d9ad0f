/** A few people at work: each runs statement after statement on a connection of their own, until told to stop. */
import pg from 'pg';
import type { Access } from '../../servers/index.ts';

export interface LoadCount {
  /** Statements that were answered. */
  done: number;
  /** SQLSTATEs of the failed ones, with how often. */
  readonly failures: Map<string, number>;
  /** Connections that ended by themselves. */
  lost: number;
}

export class Load {
  readonly count: LoadCount = { done: 0, failures: new Map(), lost: 0 };
  readonly #clients: pg.Client[] = [];
  readonly #loops: Promise<void>[] = [];
  #stopping = false;

  /** @param statementBytes about the length of each statement. */
  static async start(access: Access, clients: number, statementBytes: number): Promise<Load> {
    const load = await Load.connect(access, clients);
    load.begin(statementBytes);
    return load;
  }

  /** People who are there and have not begun. */
  static async connect(access: Access, clients: number): Promise<Load> {
    const load = new Load();
    for (let i = 0; i < clients; i++) {
      const client = new pg.Client({ ...access });
      client.on('error', () => {
        load.count.lost++;
      });
      await client.connect();
      load.#clients.push(client);
    }
    return load;
  }

  begin(statementBytes: number): void {
    this.#loops.push(...this.#clients.map(async (client, i) => this.#run(client, i, statementBytes)));
  }

  async #run(client: pg.Client, id: number, statementBytes: number): Promise<void> {
    const padding = 'x'.repeat(statementBytes);
    for (let n = 0; !this.#stopping; n++) {
      try {
        // Simple and extended, each text only once.
        if (n % 2 === 0) await client.query(`SELECT ${id}, ${n}, '${padding}'`);
        else await client.query(`SELECT $1::int, ${n}, '${padding}'`, [id]);
        this.count.done++;
      } catch (error) {
        const code = (error as { code?: string }).code ?? String(error);
        this.count.failures.set(code, (this.count.failures.get(code) ?? 0) + 1);
        if (this.count.lost > 0) return;
      }
    }
  }

  /** The clients finish their statement and disconnect. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#loops);
    await Promise.all(this.#clients.map(async (client) => client.end()));
  }
}

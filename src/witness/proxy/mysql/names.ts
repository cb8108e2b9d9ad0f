/**
 * Names and numbers that mean something else to the server than to the client: the database, which people know by its name
 * in dbwitness, and connection ids.
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { encodeTextCommand } from '../../../wire/mysql/commands.ts';
import { GAP, MAX_PATTERN_CHARS, parseKill } from './kill.ts';
import { CODES, refusal, type Refusal } from './refusal.ts';
import type { MysqlSession } from './session.ts';

export interface Mapped {
  readonly why: Refusal | null;
  /** The text to send instead; `null`: the client's own. */
  readonly instead: string | null;
}

const AS_IT_IS: Mapped = { why: null, instead: null };
const USE = new RegExp(
  String.raw`^${GAP}*USE${GAP}*(?:\x60((?:[^\x60]|\x60\x60)+)\x60|"((?:[^"]|"")+)"|([^\s;\x60"'/#]+))${GAP}*$`,
  'i',
);

export class Names {
  readonly #s: MysqlSession;

  constructor(session: MysqlSession) {
    this.#s = session;
  }

  /** USE: of the granted database only, by either of its names. */
  use(text: string): Mapped {
    const match = text.length > MAX_PATTERN_CHARS ? null : USE.exec(text);
    if (!match) return refused(unclear('USE'));
    const name = match[1]?.replaceAll('``', '`') ?? match[2]?.replaceAll('""', '"') ?? match[3];
    const mapped = this.database(name);
    if (mapped === null) return refused(otherDatabase(name, this.#s.permit.databaseName));
    return mapped === name ? AS_IT_IS : { why: null, instead: `USE \`${mapped.replaceAll('`', '``')}\`` };
  }

  /** A statement that may be a USE or a KILL, but does not say so plainly. */
  hidden(): Mapped {
    return refused(unclear('KILL'));
  }

  /** The upstream's name of the granted database, if `name` is one of its names; else `null`. */
  database(name: string): string | null {
    const { permit } = this.#s;
    const upstream = permit.upstream.databaseName;
    if (name === upstream) return name;
    return name === permit.databaseName ? upstream : null;
  }

  /** KILL: of one's own connections only, by either of their ids. */
  kill(text: string): Mapped {
    const kill = parseKill(text);
    if (!kill) return refused(unclear('KILL'));
    if (kill.id === null) return AS_IT_IS;
    const mapped = this.connection(kill.id);
    if (typeof mapped !== 'number') return refused(mapped);
    return mapped === kill.id ? AS_IT_IS : { why: null, instead: `${kill.before}${mapped}${kill.after}` };
  }

  /** The upstream's id of a connection of one's own on this session's server, or why not. */
  connection(id: number): number | Refusal {
    const { connections, connection } = this.#s;
    const found = connections.find(id, connection);
    if (!found) return refusal(CODES.noSuchThread, `Unknown thread id: ${id}`, '', NOT_YOURS);
    if (found.serverUid !== connection.serverUid)
      return refusal(
        CODES.killDenied,
        `connection ${id} is one of another database server`,
        'Connect to the database that it uses, and send KILL there',
      );
    return found.upstreamId;
  }
}

const NOT_YOURS = 'Only connections of your own, made through dbwitness, can be killed';

function refused(why: Refusal): Mapped {
  return { why, instead: null };
}

function unclear(what: string): Refusal {
  return what === 'USE'
    ? refusal(CODES.databaseDenied, 'this USE cannot be understood', 'Write USE and the name of the database')
    : refusal(
        CODES.killDenied,
        'only KILL, KILL CONNECTION and KILL QUERY with a number are passed on',
        NOT_YOURS,
      );
}

export function otherDatabase(name: string, granted: string): Refusal {
  return refusal(
    CODES.databaseDenied,
    `this session is for database "${granted}"; it cannot go to "${name.slice(0, 64)}"`,
    'Connect again with the name of the other database, if you have a grant for it',
  );
}

/** COM_INIT_DB or COM_STMT_PREPARE with the upstream's name, as a packet. */
export function textCommand(command: number, text: string): Buffer {
  const writer = new ByteWriter(256);
  encodeTextCommand(writer, command, text);
  return writer.copy();
}

/** What is refused on a connection for KILL only. */
export function withoutDatabase({ connection }: MysqlSession): Refusal {
  return refusal(CODES.noDatabase, connection.killsOnly, 'Without one, only KILL is possible');
}

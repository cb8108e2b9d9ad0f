/**
 * The commands besides statements. What changes or shows something is recorded (kind COMMAND, with a text that says what
 * it does); replication, shutdown, debugging and what nobody uses any more are refused.
 */
import { ByteWriter } from '../../../base/bytes.ts';
import {
  decodeFieldList,
  decodeId,
  decodeName,
  decodeSetOption,
  encodeIdCommand,
  OPTION_MULTI_STATEMENTS_ON,
} from '../../../wire/mysql/commands.ts';
import { Command, commandName } from '../../../wire/mysql/protocol.ts';
import { StatementKind } from '../recorder.ts';
import type { WholeCommand } from './frontend.ts';
import { Names, otherDatabase, textCommand, withoutDatabase } from './names.ts';
import { CODES, refusal, type Refusal } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import type { MysqlSession } from './session.ts';
import type { Texts } from './texts.ts';

const WHY_NOT: Readonly<Record<number, string>> = {
  [Command.BINLOG_DUMP]: 'replication is not available through dbwitness',
  [Command.BINLOG_DUMP_GTID]: 'replication is not available through dbwitness',
  [Command.REGISTER_SLAVE]: 'replication is not available through dbwitness',
  [Command.TABLE_DUMP]: 'replication is not available through dbwitness',
  [Command.CLONE]: 'replication is not available through dbwitness',
  [Command.SUBSCRIBE_GROUP_REPLICATION_STREAM]: 'replication is not available through dbwitness',
  [Command.SHUTDOWN]: 'the server cannot be shut down through dbwitness',
  [Command.DEBUG]: 'debugging the server is not available through dbwitness',
  [Command.REFRESH]: 'COM_REFRESH is not available through dbwitness; send FLUSH as a statement',
  [Command.CREATE_DB]:
    'COM_CREATE_DB is not available through dbwitness; send CREATE DATABASE as a statement',
  [Command.DROP_DB]: 'COM_DROP_DB is not available through dbwitness; send DROP DATABASE as a statement',
};

export class Commands {
  readonly #s: MysqlSession;
  readonly #texts: Texts;
  readonly #names: Names;

  constructor(session: MysqlSession, texts: Texts) {
    this.#s = session;
    this.#texts = texts;
    this.#names = new Names(session);
  }

  run(command: number, whole: WholeCommand): void {
    const s = this.#s;
    switch (command) {
      case Command.QUIT:
        s.clientQuit(whole.packets, whole.from, whole.to);
        break;
      case Command.PING:
        this.#pass(RequestKind.ok, whole);
        break;
      case Command.STATISTICS:
        this.#pass(RequestKind.statistics, whole);
        break;
      case Command.INIT_DB:
        this.#initDb(whole);
        break;
      case Command.FIELD_LIST:
        this.#fieldList(whole);
        break;
      case Command.PROCESS_INFO: {
        const why = this.#needsDatabase();
        this.#recorded(RequestKind.query, '/* COM_PROCESS_INFO */ SHOW PROCESSLIST', whole, why);
        break;
      }
      case Command.PROCESS_KILL:
        this.#kill(whole);
        break;
      case Command.SET_OPTION:
        this.#setOption(whole);
        break;
      case Command.RESET_CONNECTION:
        this.#reset(whole);
        break;
      case Command.CHANGE_USER:
        this.#changeUser(whole);
        break;
      default:
        this.#refuse(
          whole,
          `/* ${commandName(command)} */`,
          refusal(CODES.unknownCommand, WHY_NOT[command] ?? `${commandName(command)} is not available here`),
        );
    }
  }

  #pass(kind: RequestKind, whole: WholeCommand): Request {
    const s = this.#s;
    const request = new Request(kind, s.turn.number, whole.answerSequence);
    s.pass(request, whole.packets, whole.from, whole.to);
    return request;
  }

  /** Announces a command as a statement and passes it on, or another in its place; or refuses it. */
  #recorded(
    kind: RequestKind,
    text: string,
    whole: WholeCommand,
    refused: Refusal | null = null,
    instead: Buffer | null = null,
  ): Request | null {
    const s = this.#s;
    const why = s.gate.statements(1) ?? refused;
    if (why) {
      this.#refuse(whole, text, why);
      return null;
    }
    const sql = Buffer.from(text);
    const statement = s.newInFlight();
    s.records.announceText(
      statement.ordinal,
      StatementKind.COMMAND,
      sql,
      0,
      sql.length,
      sql.length,
      false,
      s.status,
      null,
    );
    s.account.statements++;
    const request = new Request(kind, s.turn.number, whole.answerSequence);
    request.statements = [statement];
    if (instead) s.pass(request, instead, 0, instead.length);
    else s.pass(request, whole.packets, whole.from, whole.to);
    return request;
  }

  #refuse(whole: WholeCommand, text: string, why: Refusal): void {
    const s = this.#s;
    const sql = Buffer.from(text);
    s.recordRefused(StatementKind.COMMAND, sql, 0, sql.length, why);
    s.answerWith(why, whole.answerSequence);
  }

  #initDb(whole: WholeCommand): void {
    const name = decodeName(whole.payload, whole.start, whole.end);
    const text = `/* COM_INIT_DB */ USE \`${name.replaceAll('`', '``')}\``;
    const mapped = this.#names.database(name);
    if (mapped === null) {
      this.#refuse(whole, text, this.#needsDatabase() ?? otherDatabase(name, this.#s.permit.databaseName));
      return;
    }
    if (mapped === name) {
      this.#recorded(RequestKind.ok, text, whole, this.#needsDatabase());
      return;
    }
    this.#recorded(RequestKind.ok, text, whole, this.#needsDatabase(), textCommand(Command.INIT_DB, mapped));
  }

  #needsDatabase(): Refusal | null {
    return this.#s.connection.killsOnly === '' ? null : withoutDatabase(this.#s);
  }

  #fieldList(whole: WholeCommand): void {
    const { table, wildcard } = decodeFieldList(whole.payload, whole.start, whole.end);
    const like = wildcard === '' ? '' : ` LIKE '${wildcard.replaceAll("'", "''")}'`;
    const text = `/* COM_FIELD_LIST */ SHOW COLUMNS FROM \`${table.replaceAll('`', '``')}\`${like}`;
    this.#recorded(RequestKind.fieldList, text, whole, this.#needsDatabase());
  }

  #kill(whole: WholeCommand): void {
    const id = decodeId(whole.payload, whole.start, whole.end);
    const text = `/* COM_PROCESS_KILL */ KILL ${id}`;
    const mapped = this.#names.connection(id);
    if (typeof mapped !== 'number') {
      this.#refuse(whole, text, mapped);
      return;
    }
    const writer = new ByteWriter(16);
    encodeIdCommand(writer, Command.PROCESS_KILL, mapped);
    this.#recorded(RequestKind.ok, text, whole, null, writer.copy());
  }

  #setOption(whole: WholeCommand): void {
    const option = decodeSetOption(whole.payload, whole.start, whole.end);
    const what = option === OPTION_MULTI_STATEMENTS_ON ? 'on' : 'off';
    this.#recorded(RequestKind.ok, `/* COM_SET_OPTION */ SET multi_statements = ${what}`, whole);
  }

  #reset(whole: WholeCommand): void {
    const s = this.#s;
    // What is in flight still belongs to the session as it was.
    if (s.queue.size > 0) {
      this.#texts.later(whole);
      return;
    }
    const request = this.#recorded(RequestKind.ok, '/* COM_RESET_CONNECTION */ RESET CONNECTION', whole);
    if (!request) return;
    s.statements.clear();
    s.gate.forgetPrepared();
    request.onSuccess = () => s.settings.reset();
    s.settings.afterReset();
  }

  /** Another log-in on the same connection: with nothing in flight, it is another session. */
  #changeUser(whole: WholeCommand): void {
    const s = this.#s;
    if (s.queue.size > 0) {
      this.#texts.later(whole);
      return;
    }
    s.changeUser(Buffer.from(whole.payload.subarray(whole.start, whole.end)));
  }
}

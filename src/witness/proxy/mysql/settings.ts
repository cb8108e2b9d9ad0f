/**
 * What of the server's session changes the meaning of texts, and what read_only depends on: kept up by the status bits of
 * every answer, by session tracking, and where neither says enough by asking, once, before it matters.
 */
import type { LexicalSettings } from '../../../sql/dialect.ts';
import { Status } from '../../../wire/mysql/protocol.ts';
import type { OkView } from '../../../wire/mysql/responses.ts';
import { decodeSessionChanges, type SessionChange } from '../../../wire/mysql/session-track.ts';
import { CloseReason } from '../recorder.ts';
import type { Family } from './context.ts';
import { CODES, refusal } from './refusal.ts';
import type { MysqlSession } from './session.ts';

/** What was found out when the upstream connection was opened. */
export interface StartSettings {
  readonly family: Family;
  /** As versioned comments count: 80036, 101119. */
  readonly serverVersion: number;
  readonly status: number;
  /** `null`: not asked for. */
  readonly sqlMode: string | null;
  readonly clientEncoding: string;
  /** The server reports changes of character_set_client. */
  readonly tracksEncoding: boolean;
  /** The server reports changes of sql_mode as well, and of the read-only mode. */
  readonly tracksMode: boolean;
  /** What set the session up, to be run again after it was reset. */
  readonly setUp: readonly string[];
}

const ASK = 'SELECT @@sql_mode, @@character_set_client';
/** What a SET must contain to change a setting, however it is quoted; what EXECUTE runs is not looked for. */
const TOUCHES_MODE = /sql_mode|@|execute/i;
const TOUCHES_ENCODING = /names|char|@|execute/i;
/**
 * Variables that are set for the time of one statement, SET STATEMENT … FOR and SET_VAR in a hint: servers report them as
 * any change, or with the status of the answer, and not that they are as before.
 */
const FOR_A_WHILE = /statement|set_var|execute/i;
const MAX_LOOK = 4096;
const BITS = Status.NO_BACKSLASH_ESCAPES | Status.ANSI_QUOTES;

export class SessionSettings {
  readonly #s: MysqlSession;
  readonly #start: StartSettings;
  lexical: LexicalSettings;
  #sqlMode: string | null;
  #clientEncoding: string;
  #status = -1;
  /** A SET may have changed them in a way that nobody reports. */
  #modeInDoubt = false;
  #encodingInDoubt = false;

  constructor(session: MysqlSession, start: StartSettings) {
    this.#s = session;
    this.#start = start;
    this.#sqlMode = start.sqlMode;
    this.#clientEncoding = start.clientEncoding;
    this.lexical = this.#lexical();
  }

  #lexical(): LexicalSettings {
    return {
      standardConformingStrings: true,
      clientEncoding: this.#encodingInDoubt ? '' : this.#clientEncoding,
      sqlMode: this.#modeInDoubt ? null : this.#sqlMode,
      serverVersion: this.#start.serverVersion,
    };
  }

  /** For texts of statements to be prepared. */
  get prepared(): LexicalSettings {
    return { ...this.lexical, prepared: true };
  }

  // --- what the server reports ------------------------------------------------------------------------------------

  note(status: number, ok: OkView | null, bytes: Buffer): void {
    if (status !== this.#status) this.#noteStatus(status);
    if (ok && ok.stateEnd > ok.stateStart)
      for (const change of decodeSessionChanges(bytes, ok)) this.#noteChange(change);
  }

  #noteStatus(status: number): void {
    if ((status & BITS) !== (this.#status & BITS)) {
      this.#setMode('NO_BACKSLASH_ESCAPES', (status & Status.NO_BACKSLASH_ESCAPES) !== 0);
      if (this.#start.family === 'mariadb') this.#setMode('ANSI_QUOTES', (status & Status.ANSI_QUOTES) !== 0);
    }
    this.#status = status;
    const writable = (status & (Status.IN_TRANS | Status.IN_TRANS_READONLY)) === Status.IN_TRANS;
    if (writable && this.#s.readOnly) this.#readOnlyLost('a transaction that may write was opened');
  }

  #setMode(mode: string, on: boolean): void {
    if (this.#sqlMode === null) return;
    const modes = this.#sqlMode.split(',').filter((one) => one !== '' && one !== mode);
    if (on) modes.push(mode);
    this.#sqlMode = modes.join(',');
    this.lexical = this.#lexical();
  }

  #noteChange(change: SessionChange): void {
    if (change.kind === 'gtids') {
      const { recorder } = this.#s;
      if (recorder.pending) recorder.finished.gtid = change.gtids;
    } else if (change.kind === 'system-variable') this.#noteVariable(change.name, change.value);
    else if (change.kind === 'schema') this.#noteSchema(change.name);
  }

  #noteVariable(name: string, value: string): void {
    switch (name) {
      case 'sql_mode':
        this.#sqlMode = value;
        this.lexical = this.#lexical();
        break;
      case 'character_set_client':
        this.#clientEncoding = value;
        this.lexical = this.#lexical();
        break;
      case 'transaction_read_only':
      case 'tx_read_only':
        if (this.#s.readOnly && value !== 'ON' && value !== '1')
          this.#readOnlyLost('read-only was switched off in this session');
        break;
      default:
    }
  }

  #noteSchema(name: string): void {
    const { databaseName } = this.#s.permit.upstream;
    if (name === '' || name.toLowerCase() === databaseName.toLowerCase()) return;
    this.#s.endWith(
      CloseReason.PROTOCOL_ERROR,
      refusal(
        CODES.databaseDenied,
        `the session went to another database than the granted one ("${this.#s.permit.databaseName}"), so it ends`,
      ),
    );
  }

  #readOnlyLost(what: string): void {
    this.#s.endWith(
      CloseReason.READ_ONLY_LOST,
      refusal(
        CODES.readOnly,
        `${what}, but the grant is read_only: the session ends`,
        'Do not change the transaction mode, or ask for a grant that may write',
      ),
    );
  }

  // --- what is not reported ---------------------------------------------------------------------------------------

  /**
   * A statement is passed on, or executed. Under controls any may set something: a SET in a versioned comment, one that
   * was prepared. Without them only what is a SET at first sight is looked at.
   */
  passed(bytes: Buffer, start: number, end: number, isSet: boolean): void {
    const { family, tracksMode, tracksEncoding } = this.#start;
    const { controlled } = this.#s;
    if (!controlled && (!isSet || (tracksMode && tracksEncoding))) return;
    const cut = Math.min(end, start + MAX_LOOK);
    const text = bytes.toString('latin1', start, cut);
    const isLong = cut < end;
    const forAWhile = controlled && (isLong || FOR_A_WHILE.test(text));
    // MariaDB says all that matters of sql_mode with every answer, MySQL half of it.
    const mode = !tracksMode && family === 'mysql' && (isLong || TOUCHES_MODE.test(text));
    const encoding = !tracksEncoding && (isLong || TOUCHES_ENCODING.test(text));
    if (!forAWhile && !mode && !encoding) return;
    this.#modeInDoubt ||= forAWhile || mode;
    this.#encodingInDoubt ||= forAWhile || encoding;
    this.lexical = this.#lexical();
  }

  /** Under controls: whether a text can be read in several ways, and the settings are asked for before it is. */
  mustAsk(bytes: Buffer, start: number, end: number): boolean {
    if (!(this.#modeInDoubt || this.#encodingInDoubt) || !this.#s.controlled) return false;
    for (let i = start; i < end; i++) {
      const byte = bytes[i];
      if (byte === 0x22 || byte === 0x5c || byte >= 0x80) return true;
    }
    return false;
  }

  /** Asks the server; `then` runs when the settings are known. Call while nothing is in flight. */
  ask(then: () => void): void {
    this.#s.ask(ASK, ({ values, error }) => {
      const [sqlMode, clientEncoding] = values;
      if (error !== null || sqlMode == null || clientEncoding == null) {
        this.#s.lostTrack('the server does not tell its sql_mode');
        return;
      }
      this.#modeInDoubt = false;
      this.#encodingInDoubt = false;
      this.#sqlMode = sqlMode;
      this.#clientEncoding = clientEncoding;
      this.lexical = this.#lexical();
      then();
    });
  }

  /** COM_RESET_CONNECTION was passed on: what it undoes is done again right behind it. */
  afterReset(): void {
    for (const sql of this.#start.setUp)
      this.#s.ask(sql, ({ error }) => {
        if (error !== null) this.#readOnlyLost(`the session could not be set up again (${error.message})`);
      });
  }

  /** COM_RESET_CONNECTION has succeeded. */
  reset(): void {
    this.#sqlMode = this.#start.sqlMode;
    this.#clientEncoding = this.#start.clientEncoding;
    this.#modeInDoubt = false;
    this.#encodingInDoubt = false;
    this.lexical = this.#lexical();
  }
}

/**
 * A recorded connection as packets that know what they are: who said them, in answer to what, with which capabilities. Each
 * can be decoded and encoded again. The golden traces, the hostile tests and the fuzzer share it.
 */
import { ByteWriter } from '../../../src/base/bytes.ts';
import * as authentication from '../../../src/wire/mysql/authentication.ts';
import * as commands from '../../../src/wire/mysql/commands.ts';
import { joinPayload, nextPacket, PacketCursor, passPacket } from '../../../src/wire/mysql/framing.ts';
import * as handshake from '../../../src/wire/mysql/handshake.ts';
import * as parameters from '../../../src/wire/mysql/parameters.ts';
import {
  type Capabilities,
  Capability,
  clientInfile,
  Command,
  type PayloadLimits,
  Status,
  upstreamRunning,
} from '../../../src/wire/mysql/protocol.ts';
import * as responses from '../../../src/wire/mysql/responses.ts';
import * as resultset from '../../../src/wire/mysql/resultset.ts';
import { decodeSessionChanges, encodeSessionChanges } from '../../../src/wire/mysql/session-track.ts';
import { writePayload } from '../../../src/wire/mysql/writer.ts';

export type Direction = 'client' | 'upstream';

export type Kind =
  | 'greeting'
  | 'response'
  | 'auth-data'
  | 'auth-switch'
  | 'auth-more'
  | 'command'
  | 'infile-data'
  | 'infile-request'
  | 'ok'
  | 'eof'
  | 'err'
  | 'progress'
  | 'text'
  | 'column-count'
  | 'column'
  | 'field'
  | 'text-row'
  | 'binary-row'
  | 'prepare-ok';

export interface Said {
  readonly direction: Direction;
  readonly kind: Kind;
  /** Packets, headers included. */
  readonly raw: Buffer;
  readonly payload: Buffer;
  readonly sequence: number;
  readonly capabilities: Capabilities;
  /** Columns of a row, parameters of an execution. */
  readonly count: number;
  readonly types: Uint16Array | null;
  readonly longData: ReadonlySet<number>;
}

interface Statement {
  readonly count: number;
  types: Uint16Array | null;
  longData: Set<number>;
}

/** One direction's bytes. */
class Side {
  readonly #bytes: Buffer;
  readonly #limits: PayloadLimits;
  readonly #cursor = new PacketCursor();
  at = 0;

  constructor(bytes: Buffer, limits: PayloadLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  get ended(): boolean {
    return this.at >= this.#bytes.length;
  }

  take(): { raw: Buffer; payload: Buffer; sequence: number } {
    const start = this.at;
    do {
      if (!nextPacket(this.#bytes, this.at, this.#bytes.length, this.#limits, this.#cursor))
        throw new Error(`a packet at ${this.at} is not whole`);
      if (this.at === start) this.first = this.#cursor.sequence;
      passPacket(this.#cursor);
      this.at = this.#cursor.end;
    } while (!this.#cursor.last);
    const raw = this.#bytes.subarray(start, this.at);
    return { raw, payload: joinPayload(raw, 0, raw.length), sequence: this.first };
  }
  first = 0;
}

export class Conversation {
  readonly said: Said[] = [];
  readonly #client: Side;
  readonly #upstream: Side;
  readonly #statements = new Map<number, Statement>();
  #last: Statement | undefined;
  #capabilities: Capabilities = { flags: 0, mariadb: 0 };
  #server: Capabilities = { flags: 0, mariadb: 0 };

  constructor(client: Buffer, upstream: Buffer) {
    this.#client = new Side(client, clientInfile);
    this.#upstream = new Side(upstream, upstreamRunning);
    this.#start();
    while (!this.#client.ended) this.#command();
    if (!this.#upstream.ended)
      throw new Error(`the server said more than was understood, from ${this.#upstream.at} on`);
  }

  #say(
    direction: Direction,
    kind: Kind,
    extra: Partial<Pick<Said, 'count' | 'types' | 'longData'>> = {},
  ): Said {
    const side = direction === 'client' ? this.#client : this.#upstream;
    const packet = side.take();
    const said: Said = {
      direction,
      kind,
      ...packet,
      capabilities: this.#capabilities,
      count: extra.count ?? 0,
      types: extra.types ?? null,
      longData: extra.longData ?? new Set(),
    };
    this.said.push(said);
    return said;
  }

  #start(): void {
    const greeting = this.#say('upstream', 'greeting');
    this.#server = handshake.decodeHandshakeV10(greeting.payload, 0, greeting.payload.length).capabilities;
    const response = this.#say('client', 'response');
    const asked = handshake.decodeHandshakeResponse(
      response.payload,
      0,
      response.payload.length,
    ).capabilities;
    // CLIENT_LONG_PASSWORD is no more a question of agreement.
    this.#capabilities = {
      flags: (asked.flags & (this.#server.flags | Capability.LONG_PASSWORD)) >>> 0,
      mariadb: asked.mariadb & this.#server.mariadb,
    };
    this.#authenticate();
  }

  #authenticate(): void {
    for (;;) {
      const first = this.#peek();
      if (first === 0 || first === 0xff) {
        this.#say('upstream', first === 0 ? 'ok' : 'err');
        return;
      }
      const asked = this.#say('upstream', first === 0xfe ? 'auth-switch' : 'auth-more');
      const fast = asked.kind === 'auth-more' && asked.payload[1] === authentication.FAST_AUTH_SUCCESS;
      if (!fast) this.#say('client', 'auth-data');
    }
  }

  /** First payload byte of what the server says next, behind its reports of progress. */
  #peek(): number {
    for (;;) {
      const { at } = this.#upstream;
      const { payload } = this.#upstream.take();
      this.#upstream.at = at;
      if (!responses.isProgressReport(payload, 0, payload.length)) return payload[0];
      this.#say('upstream', 'progress');
    }
  }

  #command(): void {
    const at = this.#client.at;
    const { payload } = this.#client.take();
    this.#client.at = at;
    const command = payload[0];
    const id = payload.length >= 5 ? payload.readUInt32LE(1) : 0;
    const statement = id === parameters.LAST_STATEMENT ? this.#last : this.#statements.get(id);
    const known = { count: statement?.count ?? 0, types: statement?.types ?? null };
    const said = this.#say('client', 'command', { ...known, longData: new Set(statement?.longData) });
    switch (command) {
      case Command.QUIT:
      case Command.STMT_CLOSE:
        return;
      case Command.STMT_SEND_LONG_DATA:
        statement?.longData.add(payload.readUInt16LE(5));
        return;
      case Command.STATISTICS:
        this.#say('upstream', 'text');
        return;
      case Command.QUERY:
        this.#results('text-row');
        return;
      case Command.STMT_PREPARE:
        this.#prepared();
        return;
      case Command.STMT_EXECUTE:
        if (statement !== undefined) this.#executed(said, statement);
        this.#results('binary-row');
        return;
      case Command.STMT_BULK_EXECUTE:
        this.#results('binary-row');
        return;
      case Command.STMT_FETCH:
        this.#rows('binary-row', 0);
        return;
      case Command.FIELD_LIST:
        while (this.#peek() < 0xfe) this.#say('upstream', 'field');
        this.#end();
        return;
      case Command.CHANGE_USER:
        this.#authenticate();
        return;
      default:
        this.#end();
    }
  }

  #executed({ payload, count, types, longData }: Said, statement: Statement): void {
    const view = new parameters.ExecuteView();
    parameters.decodeExecute(payload, 0, payload.length, this.#capabilities, count, types, longData, view);
    statement.types = view.types.slice(0, statement.count);
    statement.longData = new Set();
  }

  /** OK, EOF or ERR. Returns the status; −1 after an error. */
  #end(): number {
    const first = this.#peek();
    if (first === 0xff) {
      this.#say('upstream', 'err');
      return -1;
    }
    const old = first === 0xfe && (this.#capabilities.flags & Capability.DEPRECATE_EOF) === 0;
    const { payload } = this.#say('upstream', old ? 'eof' : 'ok');
    if (old) return responses.eofStatus(payload, 0, payload.length);
    const ok = new responses.OkView();
    responses.decodeOk(payload, 0, payload.length, this.#capabilities, ok);
    return ok.status;
  }

  #results(kind: 'text-row' | 'binary-row'): void {
    let status: number;
    do {
      const first = this.#peek();
      if (first === responses.LOCAL_INFILE) {
        this.#say('upstream', 'infile-request');
        while (this.#say('client', 'infile-data').payload.length > 0);
        status = this.#end();
      } else status = first === 0 || first === 0xff ? this.#end() : this.#resultSet(kind);
    } while (status > 0 && (status & Status.MORE_RESULTS_EXISTS) !== 0);
  }

  #resultSet(kind: 'text-row' | 'binary-row'): number {
    const { payload } = this.#say('upstream', 'column-count');
    const header = new resultset.ResultSetHeader();
    resultset.decodeResultSetHeader(payload, 0, payload.length, this.#capabilities, header);
    if (header.metadataFollows) for (let i = 0; i < header.columnCount; i++) this.#say('upstream', 'column');
    if ((this.#capabilities.flags & Capability.DEPRECATE_EOF) === 0) {
      const status = this.#end();
      if ((status & Status.CURSOR_EXISTS) !== 0) return status;
    }
    return this.#rows(kind, header.columnCount);
  }

  #rows(kind: 'text-row' | 'binary-row', count: number): number {
    while (this.#peek() < 0xfe) this.#say('upstream', kind, { count });
    return this.#end();
  }

  #prepared(): void {
    if (this.#peek() === 0xff) {
      this.#say('upstream', 'err');
      return;
    }
    const { payload } = this.#say('upstream', 'prepare-ok');
    const ok = new resultset.PrepareOk();
    resultset.decodePrepareOk(payload, 0, payload.length, this.#capabilities, ok);
    this.#last = { count: ok.parameterCount, types: null, longData: new Set() };
    this.#statements.set(ok.statementId, this.#last);
    for (const count of [ok.parameterCount, ok.columnCount]) {
      for (let i = 0; i < count; i++) this.#say('upstream', 'column');
      if (count > 0 && (this.#capabilities.flags & Capability.DEPRECATE_EOF) === 0) this.#end();
    }
  }
}

/** Decodes a packet and writes it again; what has no decoder is copied. @throws AppError for a malformed one. */
export function recode(said: Said): Buffer {
  const out = new ByteWriter(256);
  if (said.direction === 'client') recodeClient(said, out);
  else recodeUpstream(said, out);
  return out.copy();
}

function recodeClient(said: Said, out: ByteWriter): void {
  const { kind, payload, sequence } = said;
  const end = payload.length;
  if (kind === 'response') {
    if (handshake.isSslRequest(payload, 0, end))
      handshake.encodeSslRequest(out, handshake.decodeSslRequest(payload, 0, end), sequence);
    else handshake.encodeHandshakeResponse(out, handshake.decodeHandshakeResponse(payload, 0, end), sequence);
  } else if (kind === 'command') recodeCommand(said, out);
  else authentication.encodeAuthResponse(out, payload, sequence);
}

function recodeCommand(said: Said, out: ByteWriter): void {
  const { payload, capabilities } = said;
  const end = payload.length;
  switch (payload[0]) {
    case Command.QUERY: {
      const view = new parameters.QueryView();
      parameters.decodeQuery(payload, 0, end, capabilities, view);
      const attributes = parameters.queryAttributes(payload, view);
      return parameters.encodeQuery(out, payload.subarray(view.textStart), capabilities, attributes);
    }
    case Command.STMT_EXECUTE:
      return recodeExecute(said, out);
    case Command.STMT_BULK_EXECUTE:
      parameters.decodeBulkExecute(payload, 0, end, said.count, said.types, new parameters.BulkExecuteView());
      writePayload(out, payload, 0);
      return;
    case Command.STMT_SEND_LONG_DATA: {
      const view = new commands.LongDataView();
      commands.decodeLongData(payload, 0, end, view);
      return commands.encodeLongData(out, view.statementId, view.parameter, payload.subarray(view.dataStart));
    }
    case Command.STMT_FETCH: {
      const view = new commands.FetchView();
      commands.decodeFetch(payload, 0, end, view);
      return commands.encodeFetch(out, view.statementId, view.rows);
    }
    case Command.STMT_CLOSE:
    case Command.STMT_RESET:
    case Command.PROCESS_KILL:
      return commands.encodeIdCommand(out, payload[0], commands.decodeId(payload, 0, end));
    case Command.SET_OPTION:
      return commands.encodeSetOption(out, commands.decodeSetOption(payload, 0, end));
    case Command.FIELD_LIST:
      return commands.encodeFieldList(out, commands.decodeFieldList(payload, 0, end));
    case Command.CHANGE_USER:
      return commands.encodeChangeUser(
        out,
        commands.decodeChangeUser(payload, 0, end, capabilities),
        capabilities,
      );
    case Command.INIT_DB:
      return commands.encodeTextCommand(out, Command.INIT_DB, commands.decodeName(payload, 0, end));
    default:
      writePayload(out, payload, 0);
  }
}

function recodeExecute({ payload, capabilities, count, types, longData }: Said, out: ByteWriter): void {
  const view = new parameters.ExecuteView();
  const end = payload.length;
  parameters.decodeExecute(payload, 0, end, capabilities, count, types, longData, view);
  // Values are not cut out one by one here: only the frame of an execution without parameters can be made anew.
  if (view.parameterCount > 0) {
    writePayload(out, payload, 0);
    return;
  }
  const { statementId, flags } = view;
  parameters.encodeExecute(out, { statementId, flags, parameters: [], newTypes: true }, capabilities);
}

function recodeUpstream(said: Said, out: ByteWriter): void {
  const { kind, payload, sequence, capabilities } = said;
  const end = payload.length;
  switch (kind) {
    case 'greeting':
      handshake.encodeHandshakeV10(out, handshake.decodeHandshakeV10(payload, 0, end), sequence);
      return;
    case 'auth-switch':
      authentication.encodeAuthSwitchRequest(
        out,
        authentication.decodeAuthSwitchRequest(payload, 0, end),
        sequence,
      );
      return;
    case 'auth-more':
      authentication.encodeAuthMoreData(out, authentication.decodeAuthMoreData(payload, 0, end), sequence);
      return;
    case 'ok':
      recodeOk(said, out);
      return;
    case 'eof':
      responses.encodeEof(out, responses.decodeEof(payload, 0, end), sequence);
      return;
    case 'err':
      responses.encodeErr(out, responses.decodeErr(payload, 0, end), sequence);
      return;
    case 'progress':
      responses.decodeProgressReport(payload, 0, end);
      writePayload(out, payload, sequence);
      return;
    case 'column-count': {
      const header = new resultset.ResultSetHeader();
      resultset.decodeResultSetHeader(payload, 0, end, capabilities, header);
      resultset.encodeResultSetHeader(out, header, capabilities, sequence);
      return;
    }
    case 'column':
    case 'field':
      resultset.encodeColumnDefinition(
        out,
        resultset.decodeColumnDefinition(payload, 0, end, kind === 'field'),
        sequence,
      );
      return;
    case 'text-row':
      resultset.encodeTextRow(out, resultset.decodeTextRow(payload, 0, end, said.count), sequence);
      return;
    case 'prepare-ok': {
      const ok = new resultset.PrepareOk();
      resultset.decodePrepareOk(payload, 0, end, capabilities, ok);
      resultset.encodePrepareOk(out, ok, capabilities, sequence);
      return;
    }
    case 'infile-request':
      resultset.encodeLocalInfile(out, resultset.decodeLocalInfile(payload, 0, end), sequence);
      return;
    case 'binary-row':
    case 'text':
    case 'response':
    case 'auth-data':
    case 'command':
    case 'infile-data':
      writePayload(out, payload, sequence);
  }
}

function recodeOk({ payload, capabilities, sequence }: Said, out: ByteWriter): void {
  const ok = new responses.OkView();
  responses.decodeOk(payload, 0, payload.length, capabilities, ok);
  const sessionChanges = encodeSessionChanges(decodeSessionChanges(payload, ok));
  responses.encodeOk(
    out,
    {
      affectedRows: ok.affectedRows,
      lastInsertId: ok.lastInsertId,
      status: ok.status,
      warnings: ok.warnings,
      info: payload.toString('utf8', ok.infoStart, ok.infoEnd),
      sessionChanges,
    },
    capabilities,
    sequence,
    payload[0] === responses.EOF ? responses.EOF : responses.OK,
  );
}

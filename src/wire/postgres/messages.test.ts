/** decode(encode(m)) = m for every message but the start-up packets, and no reader looks behind its message. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import * as authentication from './authentication.ts';
import * as backend from './backend.ts';
import * as copy from './copy.ts';
import { MessageCursor, nextMessage } from './framing.ts';
import * as frontend from './frontend.ts';
import {
  Backend,
  clientAuthenticating,
  clientRunning,
  Frontend,
  type LengthLimits,
  upstreamRunning,
} from './messages.ts';
import * as rows from './rows.ts';
import * as startup from './startup.ts';

const text = fc.string({ unit: 'binary', maxLength: 200 }).map((value) => value.replaceAll('\0', ''));
const name = fc
  .array(fc.integer({ min: 1, max: 255 }), { maxLength: 80 })
  .map((codes) => String.fromCharCode(...codes));
const bytes = fc.uint8Array({ maxLength: 60 }).map((value) => Buffer.from(value));
const values = fc.array(fc.option(bytes), { maxLength: 12 });
const uint16 = fc.integer({ min: 0, max: 0xffff });
const int16 = fc.integer({ min: -0x8000, max: 0x7fff });
const int32 = fc.integer();
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const format = fc.integer({ min: 0, max: 1 });

/** Formats that a Bind with `count` parameters may carry. */
const formatsFor = (count: number) =>
  fc.oneof(
    fc.constant<number[]>([]),
    format.map((one) => [one]),
    fc.array(format, { minLength: count, maxLength: count }),
  );

const client = clientRunning();
type Body = (message: Buffer, start: number, end: number) => unknown;

/**
 * Encodes `message`, frames it with rubbish around it, and expects `decode` to give it back; then that every shorter end
 * gives an AppError and nothing else.
 */
function roundTrip<M>(
  table: LengthLimits,
  type: number,
  message: fc.Arbitrary<M>,
  encode: (out: ByteWriter, value: M) => void,
  decode: (message: Buffer, start: number, end: number) => unknown,
  options: { readonly prefixesFail: boolean } = { prefixesFail: true },
): void {
  fc.assert(
    fc.property(message, bytes, bytes, (value, before, after) => {
      const out = new ByteWriter(16);
      out.raw(before);
      encode(out, value);
      const end = out.length;
      out.raw(after);
      const stream = out.copy();
      const cursor = new MessageCursor();
      expect(nextMessage(stream, before.length, stream.length, table, cursor)).toBe(true);
      expect(cursor).toMatchObject({ type, end });
      expect(decode(stream, cursor.body, cursor.end)).toEqual(value);
      if (options.prefixesFail) expectPrefixesToFail(stream, cursor, decode);
    }),
    { numRuns: 60 },
  );
}

function expectPrefixesToFail(stream: Buffer, cursor: MessageCursor, decode: Body): void {
  for (let end = cursor.body; end < cursor.end; end += 1 + ((cursor.end - end) >> 5))
    expect(() => decode(stream, cursor.body, end)).toThrow(expect.objectContaining({ kind: 'protocol' }));
}

describe('frontend', () => {
  it('Query', () => {
    const decode: Body = (message, start, end) =>
      message.toString('utf8', start, frontend.decodeQuery(message, start, end));
    roundTrip(client, Frontend.Query, text, frontend.encodeQuery, decode);
    const long = fc.integer({ min: 60, max: 70 }).map((length) => 'x'.repeat(length));
    roundTrip(client, Frontend.Query, long, frontend.encodeQuery, decode);
  });

  it('Query takes no second text', () => {
    const message = Buffer.from('select 1\0drop table t\0');
    expect(() => frontend.decodeQuery(message, 0, message.length)).toThrow(/malformed/);
  });

  it('Parse', () => {
    const view = new frontend.ParseView();
    const parse = fc.record({ name, text, types: fc.array(uint32, { maxLength: 5 }) });
    roundTrip(client, Frontend.Parse, parse, frontend.encodeParse, (message, start, end) => {
      frontend.decodeParse(message, start, end, view);
      return {
        name: view.name,
        text: message.toString('utf8', view.textStart, view.textEnd),
        types: frontend.typeOids(message, view.typesStart, view.typeCount),
      };
    });
  });

  it('Bind', () => {
    const view = new frontend.BindView();
    const bind = values.chain((parameters) =>
      fc.record({
        portal: name,
        statement: name,
        formats: formatsFor(parameters.length),
        parameters: fc.constant(parameters),
        resultFormats: fc.array(format, { maxLength: 5 }),
      }),
    );
    roundTrip(client, Frontend.Bind, bind, frontend.encodeBind, (message, start, end) => {
      frontend.decodeBind(message, start, end, view);
      const parameters = frontend.parameterValues(message, view.parametersStart, view.parameterCount);
      expect(view.parameterBytes).toBe(parameters.reduce((sum, value) => sum + (value?.length ?? 0), 0));
      return {
        portal: view.portal,
        statement: view.statement,
        formats: frontend.formatCodes(message, view.formatsStart, view.formatCount),
        parameters,
        resultFormats: frontend.formatCodes(message, view.resultFormatsStart, view.resultFormatCount),
      };
    });
  });

  it('a view does not keep a name that only looks like the new one', () => {
    const view = new frontend.ExecuteView();
    for (const portal of ['ab', 'ac', '', 'ac', 'acd', 'é', '\u00e8']) {
      const out = new ByteWriter(16);
      frontend.encodeExecute(out, portal, 7);
      frontend.decodeExecute(out.copy(), 5, out.length, view);
      expect(view).toEqual({ portal, maxRows: 7 });
    }
  });

  it('Execute', () => {
    const view = new frontend.ExecuteView();
    roundTrip(
      client,
      Frontend.Execute,
      fc.record({ portal: name, maxRows: int32 }),
      (out, message) => frontend.encodeExecute(out, message.portal, message.maxRows),
      (message, start, end) => {
        frontend.decodeExecute(message, start, end, view);
        return { portal: view.portal, maxRows: view.maxRows };
      },
    );
  });

  it.each([
    ['Describe', Frontend.Describe, frontend.encodeDescribe, frontend.decodeDescribe],
    ['Close', Frontend.Close, frontend.encodeClose, frontend.decodeClose],
  ] as const)('%s', (_, type, encode, decode) => {
    const view = new frontend.TargetView();
    const target = fc.record({
      target: fc.constantFrom(frontend.TARGET_PORTAL, frontend.TARGET_STATEMENT),
      name,
    });
    roundTrip(
      client,
      type,
      target,
      (out, message) => encode(out, message.target, message.name),
      (message, start, end) => {
        decode(message, start, end, view);
        return { target: view.target, name: view.name };
      },
    );
    const other = Buffer.from('Xname\0');
    expect(() => decode(other, 0, other.length, view)).toThrow(/neither a statement nor a portal/);
  });

  it('FunctionCall', () => {
    const view = new frontend.FunctionCallView();
    const call = values.chain((parameters) =>
      fc.record({
        functionOid: uint32,
        formats: formatsFor(parameters.length),
        parameters: fc.constant(parameters),
        resultFormat: uint16,
      }),
    );
    roundTrip(client, Frontend.FunctionCall, call, frontend.encodeFunctionCall, (message, start, end) => {
      frontend.decodeFunctionCall(message, start, end, view);
      const formatCount = message.readUInt16BE(view.formatsStart);
      return {
        functionOid: view.functionOid,
        formats: frontend.formatCodes(message, view.formatsStart, formatCount),
        parameters: frontend.parameterValues(
          message,
          view.formatsStart + 2 + 2 * formatCount,
          view.argumentCount,
        ),
        resultFormat: view.resultFormat,
      };
    });
  });

  it('Sync, Flush, Terminate', () => {
    for (const [type, encode] of [
      [Frontend.Sync, frontend.encodeSync],
      [Frontend.Flush, frontend.encodeFlush],
      [Frontend.Terminate, frontend.encodeTerminate],
    ] as const)
      roundTrip(client, type, fc.constant(undefined), encode, (_, start, end) =>
        frontend.decodeEmpty(start, end, 'Sync'),
      );
    expect(() => frontend.decodeEmpty(5, 6, 'Sync')).toThrow(/should have no body/);
  });

  it('refuses to write a NUL, which would begin another field', () => {
    expect(() => frontend.encodeParse(new ByteWriter(8), { name: 'a\0b', text: '', types: [] })).toThrow(
      expect.objectContaining({ kind: 'invalid', code: 'WIRE_NUL_IN_STRING' }),
    );
  });
});

describe('authentication', () => {
  it('Authentication, every kind', () => {
    const message: fc.Arbitrary<authentication.Authentication> = fc.oneof(
      fc.constantFrom<authentication.Authentication[]>(
        { kind: 'ok' },
        { kind: 'kerberos5' },
        { kind: 'cleartext' },
        { kind: 'gss' },
        { kind: 'sspi' },
        { kind: 'unknown', code: 6 },
      ),
      fc
        .uint8Array({ minLength: 4, maxLength: 4 })
        .map((salt) => ({ kind: 'md5' as const, salt: Buffer.from(salt) })),
      fc
        .array(
          name.filter((mechanism) => mechanism !== ''),
          { maxLength: 3 },
        )
        .map((mechanisms) => ({ kind: 'sasl' as const, mechanisms })),
    );
    roundTrip(
      upstreamRunning,
      Backend.Authentication,
      message,
      authentication.encodeAuthentication,
      authentication.decodeAuthentication,
    );
    const withData: fc.Arbitrary<authentication.Authentication> = fc
      .tuple(fc.constantFrom('gss-continue' as const, 'sasl-continue' as const, 'sasl-final' as const), bytes)
      .map(([kind, data]) => ({ kind, data }));
    roundTrip(
      upstreamRunning,
      Backend.Authentication,
      withData,
      authentication.encodeAuthentication,
      authentication.decodeAuthentication,
      { prefixesFail: false }, // data of any length are data
    );
  });

  it('PasswordMessage', () => {
    roundTrip(
      clientAuthenticating,
      Frontend.Password,
      text,
      authentication.encodePassword,
      authentication.decodePassword,
    );
  });

  it('SASLInitialResponse', () => {
    roundTrip(
      clientAuthenticating,
      Frontend.Password,
      fc.record({ mechanism: name, data: fc.option(bytes) }),
      authentication.encodeSaslInitialResponse,
      authentication.decodeSaslInitialResponse,
    );
  });

  it('SASLResponse', () => {
    roundTrip(
      clientAuthenticating,
      Frontend.Password,
      bytes,
      authentication.encodeSaslResponse,
      (message, start, end) => message.subarray(start, end),
      { prefixesFail: false },
    );
  });
});

describe('backend', () => {
  it('ReadyForQuery', () => {
    const status = fc.constantFrom(backend.STATUS_IDLE, backend.STATUS_IN_TRANSACTION, backend.STATUS_FAILED);
    roundTrip(
      upstreamRunning,
      Backend.ReadyForQuery,
      status,
      backend.encodeReadyForQuery,
      backend.decodeReadyForQuery,
    );
    expect(() => backend.decodeReadyForQuery(Buffer.from('X'), 0, 1)).toThrow(/unknown transaction status/);
  });

  it.each([
    ['ErrorResponse', Backend.ErrorResponse, backend.encodeErrorResponse],
    ['NoticeResponse', Backend.NoticeResponse, backend.encodeNoticeResponse],
  ] as const)('%s, every field', (_, type, encode) => {
    const letters = fc.constantFrom(...Object.keys(backend.ERROR_FIELDS), 'Z', 'é');
    const fields = fc.array(fc.tuple(letters, text), { maxLength: 20 }).map((entries) => new Map(entries));
    roundTrip(upstreamRunning, type, fields, encode, backend.decodeErrorFields);
  });

  it('an error of 1 MB is not made into strings of 1 MB', () => {
    const out = new ByteWriter(16);
    backend.encodeErrorResponse(
      out,
      new Map([
        ['M', 'x'.repeat(1_000_000)],
        ['C', '22000'],
      ]),
    );
    const fields = backend.decodeErrorFields(out.copy(), 5, out.length, 100);
    expect(fields).toEqual(
      new Map([
        ['M', 'x'.repeat(100)],
        ['C', '22000'],
      ]),
    );
  });

  it('ParameterStatus, BackendKeyData, NotificationResponse, NegotiateProtocolVersion', () => {
    roundTrip(
      upstreamRunning,
      Backend.ParameterStatus,
      fc.record({ name: text, value: text }),
      backend.encodeParameterStatus,
      backend.decodeParameterStatus,
    );
    const key = fc.uint8Array({ minLength: 4, maxLength: 256 }).map((value) => Buffer.from(value));
    roundTrip(
      upstreamRunning,
      Backend.BackendKeyData,
      fc.record({ processId: uint32, key }),
      startup.encodeBackendKeyData,
      startup.decodeBackendKeyData,
      { prefixesFail: false }, // a shorter key is a key
    );
    roundTrip(
      upstreamRunning,
      Backend.NotificationResponse,
      fc.record({ processId: uint32, channel: text, payload: text }),
      backend.encodeNotification,
      backend.decodeNotification,
    );
    roundTrip(
      upstreamRunning,
      Backend.NegotiateProtocolVersion,
      fc.record({ protocol: uint32, unrecognized: fc.array(text, { maxLength: 4 }) }),
      startup.encodeNegotiateProtocolVersion,
      startup.decodeNegotiateProtocolVersion,
    );
  });

  it('RowDescription', () => {
    const field: fc.Arbitrary<rows.Field> = fc.record({
      name: text,
      tableOid: uint32,
      columnNumber: int16,
      typeOid: uint32,
      typeBytes: int16,
      typeModifier: int32,
      format: uint16,
    });
    roundTrip(
      upstreamRunning,
      Backend.RowDescription,
      fc.array(field, { maxLength: 6 }),
      rows.encodeRowDescription,
      rows.decodeRowDescription,
    );
    fc.assert(
      fc.property(
        fc.array(field, { maxLength: 5 }),
        format,
        fc.array(format, { maxLength: 5 }),
        (fields, one, each) => {
          const out = new ByteWriter(64);
          rows.encodeRowDescription(out, fields);
          const body = out.copy().subarray(5);
          for (const formats of [[], [one], each.length === 1 ? [] : each]) {
            rows.setResultFormats(body, formats);
            expect(rows.decodeRowDescription(body, 0, body.length)).toEqual(
              fields.map((column, i) => ({
                ...column,
                format: formats.length === 1 ? formats[0] : (formats[i] ?? 0),
              })),
            );
          }
        },
      ),
    );
  });

  it('DataRow, ParameterDescription, FunctionCallResponse', () => {
    roundTrip(upstreamRunning, Backend.DataRow, values, rows.encodeDataRow, rows.decodeDataRow);
    roundTrip(
      upstreamRunning,
      Backend.ParameterDescription,
      fc.array(uint32, { maxLength: 8 }),
      rows.encodeParameterDescription,
      rows.decodeParameterDescription,
    );
    roundTrip(
      upstreamRunning,
      Backend.FunctionCallResponse,
      fc.option(bytes),
      rows.encodeFunctionCallResponse,
      rows.decodeFunctionCallResponse,
    );
  });

  it('CommandComplete', () => {
    roundTrip(
      upstreamRunning,
      Backend.CommandComplete,
      name,
      rows.encodeCommandComplete,
      rows.decodeCommandComplete,
    );
  });

  it.each([
    ['SELECT 3', 3],
    ['INSERT 0 5', 5],
    ['UPDATE 0', 0],
    ['COPY 9007199254740991', Number.MAX_SAFE_INTEGER],
    ['CREATE TABLE', -1],
    ['BEGIN', -1],
    ['', -1],
    ['7', -1],
    ['MD5', -1],
  ])('rows of the tag %j: %i', (tag, expected) => {
    const out = new ByteWriter(16);
    rows.encodeCommandComplete(out, tag);
    expect(rows.commandRows(out.copy(), 5, out.length)).toBe(expected);
  });

  it('messages without a body', () => {
    for (const [type, encode] of [
      [Backend.ParseComplete, backend.encodeParseComplete],
      [Backend.BindComplete, backend.encodeBindComplete],
      [Backend.CloseComplete, backend.encodeCloseComplete],
      [Backend.NoData, backend.encodeNoData],
      [Backend.PortalSuspended, backend.encodePortalSuspended],
      [Backend.EmptyQueryResponse, backend.encodeEmptyQueryResponse],
      [Backend.CopyDone, copy.encodeCopyDone],
    ] as const) {
      const out = new ByteWriter(8);
      encode(out);
      expect(out.copy()).toEqual(Buffer.from([type, 0, 0, 0, 4]));
    }
  });
});

describe('copy', () => {
  it.each([
    ['in', Backend.CopyInResponse],
    ['out', Backend.CopyOutResponse],
    ['both', Backend.CopyBothResponse],
  ] as const)('Copy%sResponse', (direction, type) => {
    roundTrip(
      upstreamRunning,
      type,
      fc.record({ format, columnFormats: fc.array(uint16, { maxLength: 8 }) }),
      (out, message) => copy.encodeCopyResponse(out, direction, message),
      copy.decodeCopyResponse,
    );
  });

  it('CopyData and CopyFail', () => {
    roundTrip(
      client,
      Frontend.CopyData,
      bytes,
      copy.encodeCopyData,
      (message, start, end) => message.subarray(start, end),
      { prefixesFail: false },
    );
    roundTrip(client, Frontend.CopyFail, text, copy.encodeCopyFail, copy.decodeCopyFail);
  });
});

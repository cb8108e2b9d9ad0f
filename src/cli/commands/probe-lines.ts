/**
 * Observations as lines. The first two forms are fixed, for what reads them already; `--long` says more, and `--json` has
 * everything, as the event's JSON form.
 */
import { toJson } from '@bufbuild/protobuf';
import { type Event, EventSchema, type Observation } from '../../model/events.ts';
import { showDuration } from '../amounts.ts';
import { safeLine } from '../safe-text.ts';

/** dispatch_command's return values, as their enumeration calls them. */
const RETURNS: Readonly<Record<number, string>> = {
  0: 'DISPATCH_COMMAND_SUCCESS',
  1: 'DISPATCH_COMMAND_CLOSE_CONNECTION',
  2: 'DISPATCH_COMMAND_WOULDBLOCK',
  [-1]: 'DISPATCH_COMMAND_NOT_CAPTURED',
  [-2]: 'DISPATCH_COMMAND_V57_FAILED',
};

export type LineForm = (observation: Observation, event: Event) => string;

/** PID:12345, Comm:mysqld, Time:1640000000000, length:(85/85), return:DISPATCH_COMMAND_SUCCESS, Line:SELECT … */
export function mysqldLine(hex: boolean): LineForm {
  return (observation) => {
    const { pid, processName, sqlBytes, sql, cut, returnValue } = observation;
    const captured = cut ? sql.length : sqlBytes;
    const returned = RETURNS[returnValue] ?? String(returnValue);
    return `PID:${pid}, Comm:${safeLine(processName)}, Time:${startedMs(observation)}, length:(${captured}/${sqlBytes}), return:${returned}, Line:${textOf(observation, hex)}`;
  };
}

/** PID: 23456, Comm: postgres, Time: 1640000000000, Query: SELECT version(); */
export function postgresLine(hex: boolean): LineForm {
  return (observation) => {
    const { pid, processName } = observation;
    return `PID: ${pid}, Comm: ${safeLine(processName)}, Time: ${startedMs(observation)}, Query: ${textOf(observation, hex)}`;
  };
}

/** Who, from where, how long, with what outcome. */
export function longLine(hex: boolean): LineForm {
  return (observation, event) => {
    const { userName, databaseName, clientAddress, clientPort, applicationName, durationUs, error } =
      observation;
    const at = new Date(Number(observation.startedUs / 1000n)).toISOString();
    const peer = clientPort === 0 ? clientAddress : `${clientAddress}:${clientPort}`;
    const who = `${userName}@${databaseName} ${peer}${applicationName === '' ? '' : ` (${applicationName})`}`;
    const outcome =
      error === undefined
        ? observation.tag || `${observation.rows} rows, ${observation.affectedRows} affected`
        : `${error.code} ${error.number === 0 ? '' : `${error.number} `}${error.message}`;
    const backend = event.origin?.backendId ?? '';
    return safeLine(
      `${at} ${who} #${backend} ${showDuration(Number(durationUs))} ${outcome}: ${textOf(observation, hex)}`,
    );
  };
}

/** Other events, for `--long`. */
export function eventLine(event: Event): string | null {
  const at = new Date(Number(event.atUs / 1000n)).toISOString();
  const { body } = event;
  if (body.case === 'gap') return `${at} gap: ${safeLine(body.value.detail)}`;
  if (body.case === 'loginFailed') {
    const { userName, databaseName, clientAddress, reason } = body.value;
    return safeLine(`${at} ${userName}@${databaseName} ${clientAddress} log-in failed: ${reason}`);
  }
  if (body.case !== 'observedSession') return null;
  const { kind, userName, databaseName, clientAddress, clientPort, detail } = body.value;
  const what = ['', 'opened', 'found', 'closed', 'changed'][kind] ?? '';
  const peer = clientPort === 0 ? clientAddress : `${clientAddress}:${clientPort}`;
  const why = detail === '' ? '' : `: ${detail}`;
  return safeLine(`${at} ${userName}@${databaseName} ${peer} session ${what}${why}`);
}

/** The event as JSON, with its texts as texts. */
export function eventJson(event: Event): object {
  const json = toJson(EventSchema, event) as Record<string, Record<string, unknown> | undefined>;
  if (event.body.case === 'observation' && json['observation'] !== undefined) {
    const { sql, parameters } = event.body.value;
    json['observation']['sql'] = Buffer.from(sql).toString('utf8');
    if (parameters.length > 0)
      json['observation']['parameters'] = parameters.map(({ type, null: isNull, value, bytes }) => ({
        type,
        value: isNull ? null : Buffer.from(value).toString('utf8'),
        ...(bytes === 0n ? {} : { bytes: Number(bytes) }),
      }));
  }
  return json;
}

function startedMs({ startedUs }: Observation): bigint {
  return startedUs / 1000n;
}

function textOf({ sql }: Observation, hex: boolean): string {
  const bytes = Buffer.from(sql.buffer, sql.byteOffset, sql.byteLength);
  return hex ? bytes.toString('hex') : safeLine(bytes.toString('utf8'));
}

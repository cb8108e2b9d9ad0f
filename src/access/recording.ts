/** How a database is recorded: what its administrator set, over the defaults of `base/limits.ts`. */
import { limits } from '../base/limits.ts';
import { AppError } from '../base/errors.ts';
import type { RecordingOptions } from '../model/access.ts';
import { invalid } from './validate.ts';

export const recordingDefaults: RecordingOptions = {
  durability: 'batch',
  captureRows: limits.captureRows,
  captureBytes: limits.captureBytes,
  captureCopyBytes: limits.captureCopyBytes,
  captureParameterBytes: limits.maxRecordedParameterBytes,
  xidProbe: true,
  failOpen: false,
  allowReplication: false,
  labelApplicationName: true,
  allowLocalInfile: false,
  statementComment: false,
};

/** Only what differs from the defaults is stored, so a database follows the defaults of later versions. */
export type RecordingSettings = {
  readonly [Name in keyof RecordingOptions]?: RecordingOptions[Name] | undefined;
};

const MAX_CAPTURE = 1024 * 1024 * 1024;

export function checkRecording(settings: RecordingSettings): RecordingSettings {
  for (const [name, value] of Object.entries(settings))
    if (typeof value === 'number' && (!Number.isSafeInteger(value) || value < 0 || value > MAX_CAPTURE))
      throw invalid(`recording.${name}`, `must be a whole number from 0 to ${MAX_CAPTURE}`);
  return settings;
}

export function withDefaults(settings: RecordingSettings): RecordingOptions {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return { ...recordingDefaults, ...(Object.fromEntries(given) as Partial<RecordingOptions>) };
}

export function formatRecording(settings: RecordingSettings): string {
  return JSON.stringify(settings);
}

/** Reads the column `databases.recording`. What it does not know, it leaves out. */
export function parseRecording(text: string, databaseUid: string): RecordingSettings {
  let parsed: unknown;
  try {
    parsed = text === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw new AppError(
      'corrupt',
      'ACCESS_RECORDING_DAMAGED',
      `the recording options of database ${databaseUid} are damaged; set them again`,
      { cause },
    );
  }
  const known = Object.entries(parsed ?? {}).filter(
    ([name, value]) =>
      name in recordingDefaults && typeof value === typeof recordingDefaults[name as keyof RecordingOptions],
  );
  return Object.fromEntries(known);
}

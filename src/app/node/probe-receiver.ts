/** Where kernel probes hand over what they saw: the one of this host by a socket in the data folder, others by mutual TLS. */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { AppError, messageOf } from '../../base/errors.ts';
import { ProbeReceiver } from '../../witness/probe/receiver.ts';
import type { Config } from '../config.ts';
import type { NodePaths } from './paths.ts';
import type { RelayProcess } from './relay-process.ts';

/** Returns what closes it. @throws AppError that names the setting. */
export async function receiveProbes(
  config: Config,
  paths: NodePaths,
  relay: RelayProcess,
  logger: Logger,
): Promise<() => Promise<void>> {
  const receiver = new ProbeReceiver({
    append: (batch) => relay.appendBatch(batch),
    report: (level, message) => logger[level]({ part: 'probe' }, message),
  });
  try {
    await receiver.listenLocal(paths.probeSocket);
    if (config.listenProbe !== null) {
      const { host, port } = config.listenProbe;
      const [cert, key, ca] = await Promise.all([
        pem('DBW_PROBE_CERT', config.probeCertFile),
        pem('DBW_PROBE_KEY', config.probeKeyFile),
        pem('DBW_PROBE_CA', config.probeCaFile),
      ]);
      await receiver.listenRemote(host, port, { cert, key, ca });
    }
  } catch (error) {
    await receiver.close();
    throw error;
  }
  return () => receiver.close();
}

async function pem(setting: string, file: string): Promise<string> {
  if (file === '')
    throw new AppError('invalid', 'APP_CONFIG_INVALID', `${setting}: DBW_LISTEN_PROBE needs it: a PEM file`);
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('invalid', 'APP_CONFIG_INVALID', `${setting}: ${messageOf(cause)}`, { cause });
  });
}

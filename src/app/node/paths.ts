/** Where things of a node are in its data folder. Imports nothing heavy: the command line needs it at every call. */
import { join } from 'node:path';

export interface NodePaths {
  readonly journal: string;
  readonly tls: string;
  /** The control socket: whoever can open it is the machine's administrator. */
  readonly socket: string;
  /** Where the kernel probe of this host hands over what it saw. */
  readonly probeSocket: string;
  /** What a running node says of itself; no secrets. */
  readonly state: string;
}

export function pathsOf(dataDir: string): NodePaths {
  return {
    journal: join(dataDir, 'journal'),
    tls: join(dataDir, 'tls'),
    socket: join(dataDir, 'control.sock'),
    probeSocket: join(dataDir, 'probe.sock'),
    state: join(dataDir, 'node.json'),
  };
}

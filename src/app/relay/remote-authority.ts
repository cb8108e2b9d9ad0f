/** The authority of the relay's process: asks the node's process. */
import type {
  Authority,
  AuthorityNotice,
  EngineName,
  GrantUsage,
  LoginChallenge,
  PermitResult,
  ScramVerifierMatch,
  ServerAddress,
} from '../../model/access.ts';
import type { Channel } from '../ipc.ts';
import type { NodeMethods, RelayMethods } from './protocol.ts';

export class RemoteAuthority implements Authority {
  readonly #channel: Channel<RelayMethods, NodeMethods>;
  readonly #listeners: ((notice: AuthorityNotice) => void)[] = [];

  constructor(channel: Channel<RelayMethods, NodeMethods>) {
    this.#channel = channel;
    channel.handle('notice', (notice) => {
      for (const listener of this.#listeners) listener(notice);
    });
  }

  challenge(login: {
    user: string;
    database: string;
    engine: EngineName;
    clientAddress: string;
  }): Promise<LoginChallenge> {
    return this.#channel.request('challenge', login);
  }

  checkSecret(login: {
    user: string;
    secret: string;
    clientAddress: string;
  }): Promise<ScramVerifierMatch | null> {
    return this.#channel.request('checkSecret', login);
  }

  proved(login: { user: string; clientAddress: string; credentialUid: string | null }): void {
    this.#channel.notify('proved', login);
  }

  permit(login: {
    userUid: string;
    database: string;
    engine: EngineName;
    credentialUid: string;
  }): Promise<PermitResult> {
    return this.#channel.request('permit', login);
  }

  servers(): Promise<readonly ServerAddress[]> {
    return this.#channel.request('servers', null);
  }

  reportUsage(usage: readonly GrantUsage[]): void {
    this.#channel.notify('usage', usage);
  }

  onNotice(listener: (notice: AuthorityNotice) => void): void {
    this.#listeners.push(listener);
  }
}

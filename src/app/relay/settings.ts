import type { ReactorDriver } from '../../transport/reactor.ts';
import type { MysqlAuthMethod } from '../config.ts';

/** What the node's process tells the relay's at its start; plain JSON. */
export interface RelaySettings {
  readonly node: string;
  readonly version: string;
  readonly journalFolder: string;
  /** Base64 of 32 bytes; empty: the journal is not encrypted. */
  readonly journalKey: string;
  /** Free bytes below which nothing is recorded. */
  readonly journalReserveBytes: number;
  readonly cosigner: { readonly url: string; readonly key: string } | null;
  readonly driver: ReactorDriver;
  readonly listenPostgres: { readonly host: string; readonly port: number } | null;
  readonly listenMysql: { readonly host: string; readonly port: number } | null;
  readonly mysql: {
    /** The authentication methods that are offered. */
    readonly methods: readonly MysqlAuthMethod[];
    /** Addresses and CIDR blocks whose PROXY protocol header is believed. */
    readonly proxyProtocolFrom: readonly string[];
    /** Where the RSA key pair of caching_sha2_password is kept. */
    readonly keyFolder: string;
  };
  readonly maxStatementBytes: number;
  readonly allowCleartext: boolean;
  readonly requireTls: boolean;
  readonly certificateLogin: boolean;
  /** `null`: TLS is not offered. */
  readonly tls: {
    /** Files of the operator's; empty: a self-signed certificate, kept in `folder`. */
    readonly certFile: string;
    readonly keyFile: string;
    readonly folder: string;
    /** File of the authorities of client certificates; empty: none are asked for. */
    readonly clientCaFile: string;
  } | null;
}

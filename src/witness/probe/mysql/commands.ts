/** Commands of the protocol (enum_server_command) as observations name them, and dispatch_command's return values. */
export const COMMANDS: Readonly<Record<number, string>> = {
  2: 'init_db',
  3: 'query',
  4: 'field_list',
  5: 'create_db',
  6: 'drop_db',
  7: 'refresh',
  8: 'shutdown',
  10: 'process_info',
  12: 'process_kill',
  18: 'binlog_dump',
  19: 'table_dump',
  21: 'register_slave',
  22: 'stmt_prepare',
  23: 'stmt_execute',
  30: 'binlog_dump_gtid',
  31: 'reset_connection',
  250: 'stmt_bulk_execute',
};

/** The return of a command that was not seen. */
export const NOT_CAPTURED = -1;
export const FAILED_57 = -2;

/**
 * The return value as it is shown: 0 success, 1 close connection, 2 would block. Up to 5.7 the function returns whether it
 * failed, which is −2 here.
 */
export function returnValue(result: number, engine: 'mysql' | 'mariadb', major: number): number {
  const value = result & 0xff;
  if (engine === 'mysql' && major < 8) return value === 0 ? 0 : FAILED_57;
  return value;
}

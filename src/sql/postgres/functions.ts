/**
 * Functions that do more than compute, by name. A function is judged by the last part of its name, whatever its schema:
 * extensions may be installed anywhere. A test against real servers asserts that every volatile function of pg_catalog
 * is either here or in {@link HARMLESS_VOLATILE}, so that a new major version cannot bring one unseen.
 *
 * User-defined functions cannot be judged by name; see docs/read-only.md.
 */
export type FunctionEffect =
  /** Changes data, other sessions or the server. */
  | 'writes'
  /** Reads or writes files of the server's host. */
  | 'files'
  /** Runs code or SQL elsewhere or in another session. */
  | 'opaque'
  /** set_config: harmless for a constant, ordinary setting. */
  | 'setting'
  /** Runs SQL given as text, in a read-only way: as harmful as that text. See {@link SQL_ARGUMENTS}. */
  | 'sql';

const words = (text: string): string[] => text.trim().split(/\s+/);

const WRITES = words(`
  nextval setval
  lo_creat lo_create lo_from_bytea lo_put lo_truncate lo_truncate64 lo_unlink lowrite
  pg_notify
  pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock
  pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
  pg_cancel_backend pg_terminate_backend pg_log_backend_memory_contexts
  pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old pg_promote
  pg_switch_wal pg_switch_xlog pg_create_restore_point pg_log_standby_snapshot pg_wal_replay_pause pg_wal_replay_resume
  pg_xlog_replay_pause pg_xlog_replay_resume
  pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup
  pg_create_logical_replication_slot pg_create_physical_replication_slot pg_copy_logical_replication_slot
  pg_copy_physical_replication_slot pg_drop_replication_slot pg_replication_slot_advance pg_sync_replication_slots
  pg_logical_slot_get_changes pg_logical_slot_get_binary_changes pg_logical_emit_message
  pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop
  pg_replication_origin_session_reset pg_replication_origin_session_setup pg_replication_origin_xact_reset
  pg_replication_origin_xact_setup
  pg_import_system_collations pg_nextoid pg_stop_making_pinned_objects pg_extension_config_dump
  brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list
  pg_restore_relation_stats pg_restore_attribute_stats pg_clear_relation_stats pg_clear_attribute_stats
  pg_truncate_visibility_map heap_force_kill heap_force_freeze pg_buffercache_evict pg_buffercache_evict_relation
  pg_buffercache_evict_all pg_buffercache_mark_dirty pg_buffercache_mark_dirty_relation pg_buffercache_mark_dirty_all
  pg_stat_statements_reset pg_stat_kcache_reset pg_stat_monitor_reset autoprewarm_start_worker autoprewarm_dump_now
  connectby xpath_table`);

const FILES = words(`
  pg_read_file pg_read_file_old pg_read_binary_file pg_ls_dir pg_stat_file lo_import lo_export
  pg_file_write pg_file_sync pg_file_rename pg_file_unlink pg_file_read pg_file_length pg_logdir_ls`);

const OPAQUE = words(`
  dblink dblink_connect dblink_connect_u dblink_exec dblink_open dblink_fetch dblink_close dblink_send_query
  dblink_get_result
  pg_background_launch pg_background_result pg_background_launch_v2 pg_background_result_v2
  run_command_on_workers run_command_on_placements run_command_on_shards run_command_on_coordinator
  run_command_on_all_nodes master_run_on_worker
  query_export_to_s3 table_import_from_s3
  replicate_ddl_command`);

/** Functions that take SQL text, and at which positions. The server runs that text read-only (SPI). */
export const SQL_ARGUMENTS: ReadonlyMap<string, readonly number[]> = new Map([
  ['query_to_xml', [0]],
  ['query_to_xmlschema', [0]],
  ['query_to_xml_and_xmlschema', [0]],
  ['ts_stat', [0]],
  ['ts_rewrite', [1]],
  ['crosstab', [0, 1]],
  ['crosstab2', [0]],
  ['crosstab3', [0]],
  ['crosstab4', [0]],
  ['crosstabn', [0]],
  ['crosstab_hash', [0, 1]],
]);

const EFFECTS: ReadonlyMap<string, FunctionEffect> = new Map<string, FunctionEffect>([
  ...WRITES.map((name) => [name, 'writes'] as const),
  ...FILES.map((name) => [name, 'files'] as const),
  ...OPAQUE.map((name) => [name, 'opaque'] as const),
  ...[...SQL_ARGUMENTS.keys()].map((name) => [name, 'sql'] as const),
  ['set_config', 'setting'],
]);

/**
 * Volatile functions of pg_catalog that change nothing outside their own session. Of note: reading large objects;
 * releasing advisory locks (pools do); `txid_current`-like functions only use up a transaction id and are stable, so
 * they are not even here; trigger functions and handlers, which cannot be called; listings of fixed folders, which
 * monitoring uses.
 */
export const HARMLESS_VOLATILE: ReadonlySet<string> = new Set(
  words(`
  lo_open lo_close lo_get lo_lseek lo_lseek64 lo_tell lo_tell64 loread
  currval lastval clock_timestamp timeofday random random_normal setseed gen_random_uuid uuidv4 uuidv7 current_query
  currtid currtid2 array_shuffle array_sample timezone pg_stat_get_io pg_stat_get_backend_io pg_stat_get_backend_wal
  pg_get_wait_events pg_sleep pg_sleep_for pg_sleep_until
  cursor_to_xml cursor_to_xmlschema txid_status pg_xact_status pg_xact_commit_timestamp pg_xact_commit_timestamp_origin
  pg_last_committed_xact pg_get_multixact_members pg_export_snapshot pg_prepared_xact
  pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared
  pg_blocking_pids pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked pg_lock_status
  pg_collation_actual_version pg_database_collation_actual_version pg_jit_available
  pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
  pg_current_logfile pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn
  pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size
  pg_get_backend_memory_contexts pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_wal_resource_managers
  pg_get_wal_replay_pause_state pg_get_wal_summarizer_state pg_get_loaded_modules pg_get_aios pg_numa_available
  pg_available_wal_summaries pg_wal_summary_contents
  pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings pg_show_replication_origin_status
  pg_is_in_recovery pg_is_wal_replay_paused pg_last_wal_receive_lsn pg_last_wal_replay_lsn
  pg_last_xact_replay_timestamp pg_notification_queue_usage
  pg_is_in_backup pg_backup_start_time
  pg_logical_slot_peek_changes pg_logical_slot_peek_binary_changes
  pg_ls_archive_statusdir pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir
  pg_ls_tmpdir pg_ls_waldir
  pg_partition_ancestors pg_partition_tree pg_sequence_last_value pg_get_sequence_data
  pg_replication_origin_progress pg_replication_origin_session_is_setup pg_replication_origin_session_progress
  pg_stat_clear_snapshot pg_stat_force_next_flush pg_stat_get_recovery_prefetch pg_stat_have_stats
  pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls
  pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans
  pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated
  pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_returned
  pg_stat_get_xact_tuples_updated
  RI_FKey_cascade_del RI_FKey_cascade_upd RI_FKey_check_ins RI_FKey_check_upd RI_FKey_noaction_del RI_FKey_noaction_upd
  RI_FKey_restrict_del RI_FKey_restrict_upd RI_FKey_setdefault_del RI_FKey_setdefault_upd RI_FKey_setnull_del
  RI_FKey_setnull_upd suppress_redundant_updates_trigger tsvector_update_trigger tsvector_update_trigger_column
  unique_key_recheck
  amvalidate bernoulli system brinhandler bthandler ginhandler gisthandler hashhandler heap_tableam_handler spghandler
  dsnowball_init dsnowball_lexize plpgsql_call_handler plpgsql_inline_handler plpgsql_validator`),
);

/**
 * Built-in functions that a FunctionCall message may name by object id under read_only: opening, reading, seeking and
 * closing large objects. Their ids are the same in every version (pg_proc.dat).
 */
export const READ_ONLY_OIDS: ReadonlySet<number> = new Set([952, 953, 954, 956, 958, 3170, 3171, 3458, 3459]);

/** What calling a function of this (folded) name may do; `undefined` where nothing is known against it. */
export function effectOf(name: string): FunctionEffect | undefined {
  const effect = EFFECTS.get(name);
  if (effect !== undefined) return effect;
  if (name.startsWith('binary_upgrade_') || name.startsWith('pg_stat_reset')) return 'writes';
  return undefined;
}

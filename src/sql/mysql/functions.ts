/**
 * Functions that do more than compute, by name, and the names of those that only compute. In MySQL and MariaDB, a name
 * without a schema means the built-in function before any stored one, however it is quoted; loadable functions (UDFs)
 * share that namespace. A name *with* a schema is always a stored function.
 *
 * What is in neither list may be a stored function or a UDF, and so may do anything that its definer may. Under
 * read_only it is let through all the same, as PostgreSQL's user-defined functions are, because the server stands
 * behind: in a session with SET SESSION TRANSACTION READ ONLY every statement, and whatever functions it calls, is
 * refused writes to tables (error 1792), whoever owns the function. Not covered by that: temporary tables, user locks,
 * what a UDF does outside of the server, and what the functions of {@link HARMFUL} do when a stored function calls them.
 * `MysqlClassification.unknownFunctions` tells of such calls, so that whoever cannot rely on the server's mode refuses them.
 */
export type FunctionEffect =
  /** Changes data, other sessions or the server. */
  | 'writes'
  /** Reads files of the server's host. */
  | 'files'
  /** Runs programs, or SQL on other servers. */
  | 'opaque';

const words = (text: string): string[] => text.trim().split(/\s+/);

/**
 * Of note. Locks with names (GET_LOCK) hold up other sessions; releasing them is harmless. SLEEP and BENCHMARK cost
 * time, as any SELECT may: quotas and timeouts are for that. MASTER_POS_WAIT and its like only wait. LAST_INSERT_ID(n)
 * changes what this session's next LAST_INSERT_ID() gives, nothing else.
 */
const WRITES = words(`
  get_lock nextval setval service_get_read_locks service_get_write_locks service_release_locks
  version_tokens_set version_tokens_edit version_tokens_delete version_tokens_lock_shared version_tokens_lock_exclusive
  version_tokens_unlock keyring_key_generate keyring_key_store keyring_key_remove keyring_aws_rotate_cmk keyring_aws_rotate_keys
  group_replication_set_as_primary group_replication_switch_to_single_primary_mode
  group_replication_switch_to_multi_primary_mode group_replication_set_write_concurrency
  group_replication_set_communication_protocol group_replication_enable_member_action group_replication_disable_member_action
  group_replication_reset_member_actions asynchronous_connection_failover_add_source
  asynchronous_connection_failover_delete_source asynchronous_connection_failover_add_managed
  asynchronous_connection_failover_delete_managed asynchronous_connection_failover_reset
  audit_log_filter_set_filter audit_log_filter_remove_filter audit_log_filter_set_user audit_log_filter_remove_user
  audit_log_filter_flush audit_log_encryption_password_set audit_log_rotate audit_api_message_emit_udf
  set_firewall_mode set_firewall_group_mode read_firewall_whitelist read_firewall_users read_firewall_groups
  read_firewall_group_allowlist firewall_group_enlist firewall_group_delist mysql_firewall_flush_status load_rewrite_rules
  flush_rewrite_rules gen_dictionary_load gen_dictionary_drop masking_dictionary_remove masking_dictionary_term_add
  masking_dictionary_term_remove masking_dictionaries_flush spider_flush_table_mon_cache spider_ping_table
  `);
const OPAQUE = words(`
  sys_exec sys_eval sys_set sys_get sys_bineval do_system lib_mysqludf_sys_info spider_direct_sql spider_bg_direct_sql
  spider_copy_tables http_get http_post http_put http_delete memc_set memc_delete gman_do gman_do_background
  ml_train ml_model_load ml_predict_row ml_generate ml_rag vector_store_load heatwave_chat mle_session_reset mle_set_session_state
  mle_session_state `);
const FILES = words('load_file keyring_key_fetch audit_log_read');

export const HARMFUL: ReadonlyMap<string, FunctionEffect> = new Map<string, FunctionEffect>([
  ...WRITES.map((name) => [name, 'writes'] as const),
  ...FILES.map((name) => [name, 'files'] as const),
  ...OPAQUE.map((name) => [name, 'opaque'] as const),
]);

/**
 * Functions of MySQL 5.6 to 9.7 and MariaDB 10.5 to 12 that only compute or read, and keywords and types that may stand before a
 * parenthesis.
 */
export const BUILT_IN: ReadonlySet<string> = new Set(
  words(`
  abs acos add_months adddate addtime aes_decrypt aes_encrypt all any any_value area as asbinary ascii asin astext
  aswkb aswkt asymmetric_decrypt asymmetric_encrypt asymmetric_sign asymmetric_verify atan atan2 avg benchmark between
  bigint bin bin_to_uuid binary bit bit_and bit_count bit_length bit_or bit_xor buffer by can_access_column
  can_access_database can_access_table can_access_user can_access_view case cast ceil ceiling centroid char
  char_length character_length charset check chr coalesce coercibility collation column_add column_check column_create
  column_delete column_exists column_get column_json column_list compress concat concat_operator_oracle concat_ws
  connection_id contains conv convert convert_tz convexhull cos cot count crc32 crc32c create_asymmetric_priv_key
  create_asymmetric_pub_key create_digest crosses cume_dist curdate current_date current_role current_time
  current_timestamp current_user currval curtime database date date_add date_format date_sub datediff day dayname
  dayofmonth dayofweek dayofyear decimal decode decode_histogram decode_oracle default degrees dense_rank des_decrypt
  des_encrypt dimension disjoint distance double else elt encode encrypt endpoint envelope equals etag except exp
  export_set exteriorring extract extractvalue field find_in_set first_value float floor format format_bytes
  format_pico_time found_rows from_base64 from_days from_unixtime geomcollection geomcollfromtext geomcollfromwkb
  geometry geometrycollection geometrycollectionfromtext geometrycollectionfromwkb geometryfromtext geometryfromwkb
  geometryn geometrytype geomfromtext geomfromwkb get_dd_column_privileges get_dd_create_options
  get_dd_index_sub_part_length get_format glength greatest group_concat grouping gtid_subset gtid_subtract
  having hex hour icu_version if ifnull index inet4 inet6 inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr int
  interiorringn internal_auto_increment internal_avg_row_length internal_check_time internal_checksum
  internal_data_free internal_data_length internal_dd_char_length internal_get_comment_or_error
  internal_get_enabled_role_json internal_get_hostname internal_get_username internal_get_view_warning_or_error
  internal_index_column_cardinality internal_index_length internal_is_enabled_role internal_is_mandatory_role
  internal_keys_disabled internal_max_data_length internal_table_rows internal_update_time intersect intersects
  interval is_free_lock is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_used_lock is_uuid is_visible_dd_object
  isclosed isempty isnull issimple join json_array json_array_append json_array_insert json_array_intersect
  json_arrayagg json_compact json_contains json_contains_path json_depth json_detailed json_duality_object json_equals
  json_exists json_extract json_insert json_key_value json_keys json_length json_loose json_merge json_merge_patch
  json_merge_preserve json_normalize json_object json_object_filter_keys json_object_to_array json_objectagg
  json_overlaps json_pretty json_query json_quote json_remove json_replace json_schema_valid
  json_schema_validation_report json_search json_set json_storage_free json_storage_size json_table json_type
  json_unescape json_unquote json_valid json_value key lag last_day last_insert_id last_value lastval lcase lead least
  left length lengthb limit linefromtext linefromwkb linestring linestringfromtext linestringfromwkb ln 
  localtime localtimestamp locate log log10 log2 lower lpad lpad_oracle ltrim ltrim_oracle make_set makedate maketime
  master_gtid_wait master_pos_wait max mbrcontains mbrcoveredby mbrcovers mbrdisjoint mbrequals mbrintersects
  mbroverlaps mbrtouches mbrwithin md5 median mediumint microsecond mid min minute mlinefromtext mlinefromwkb mod
  month monthname mpointfromtext mpointfromwkb mpolyfromtext mpolyfromwkb multilinestring multilinestringfromtext
  multilinestringfromwkb multipoint multipointfromtext multipointfromwkb multipolygon multipolygonfromtext
  multipolygonfromwkb name_const natural_sort_key not now nth_value ntile nullif numeric numgeometries
  numinteriorrings numpoints nvl nvl2 oct octet_length old_password on ord over overlaps partition password
  percent_rank percentile_cont percentile_disc period_add period_diff pi point pointfromtext pointfromwkb pointn
  polyfromtext polyfromwkb polygon polygonfromtext polygonfromwkb position pow power primary ps_current_thread_id
  ps_thread_id qualify quarter quote radians rand random_bytes rank recursive references regexp_instr regexp_like
  regexp_replace regexp_substr release_all_locks release_lock repeat replace replace_oracle reverse right
  roles_graphml round row row_count row_number rownum rpad rpad_oracle rtrim rtrim_oracle schema schemas sec_to_time
  second select session_user set sformat sha sha1 sha2 sign sin sleep smallint some soundex source_pos_wait space
  sqlcode sqlerrm sqrt srid st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_boundary st_buffer
  st_buffer_strategy st_centroid st_collect st_contains st_convexhull st_crosses st_difference st_dimension
  st_disjoint st_distance st_distance_sphere st_endpoint st_envelope st_equals st_exteriorring st_frechetdistance
  st_geohash st_geomcollfromtext st_geomcollfromtxt st_geomcollfromwkb st_geometrycollectionfromtext
  st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype st_geomfromgeojson st_geomfromtext
  st_geomfromwkb st_hausdorffdistance st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_isring
  st_issimple st_isvalid st_latfromgeohash st_latitude st_length st_linefromtext st_linefromwkb
  st_lineinterpolatepoint st_lineinterpolatepoints st_linestringfromtext st_linestringfromwkb st_longfromgeohash
  st_longitude st_makeenvelope st_mlinefromtext st_mlinefromwkb st_mpointfromtext st_mpointfromwkb st_mpolyfromtext
  st_mpolyfromwkb st_numgeometries st_numinteriorring st_numinteriorrings st_numpoints st_overlaps st_pointatdistance
  st_pointfromgeohash st_pointfromtext st_pointfromwkb st_pointn st_pointonsurface st_polyfromtext st_polyfromwkb
  st_polygonfromtext st_polygonfromwkb st_relate st_simplify st_srid st_startpoint st_swapxy st_symdifference
  st_touches st_transform st_union st_validate st_within st_wkbtosql st_wkttosql st_x st_y startpoint statement_digest
  statement_digest_text std stddev stddev_pop stddev_samp str_to_date strcmp string_to_vector subdate substr
  substr_oracle substring substring_index subtime sum sum_distinct sys_guid sysdate system_user tablesample tan text
  then time time_format time_to_sec timediff timestamp timestampadd timestampdiff tinyint to_base64 to_char to_date
  to_days to_number to_seconds touches trim trim_oracle trunc truncate ucase uncompress uncompressed_length unhex
  union unique unix_timestamp updatexml upper user using utc_date utc_time utc_timestamp uuid uuid_short uuid_to_bin
  uuid_v4 uuid_v7 validate_password_strength value values var_pop var_samp varbinary varchar variance vec_distance
  vec_distance_cosine vec_distance_euclidean vec_fromtext vec_totext vector vector_dim vector_to_string version
  wait_for_executed_gtid_set week weekday weekofyear weight_string when where with within wsrep_last_seen_gtid
  wsrep_last_written_gtid wsrep_sync_wait_upto_gtid x y year yearweek`),
);

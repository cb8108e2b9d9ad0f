/**
 * Every kind of statement that PostgreSQL's grammar has, and what it may do. Kinds whose properties depend on their
 * options (COPY, SET, EXPLAIN, …) are judged further in `classify.ts`. A kind that is not listed comes from a newer
 * grammar than this table: it is taken for the worst (`unknownStatement`). A test holds the table against the parser's
 * own list of nodes.
 *
 * Flags: w writes, d changes schema objects, roles or privileges (and so writes), e leaves read-only mode,
 * o opaque, c copies.
 */
export interface StatementKind {
  readonly verb: string;
  readonly flags: string;
}

export const unknownStatement: StatementKind = { verb: 'unknown', flags: 'wdo' };

const kinds = (verb: string, flags: string, names: string): [string, StatementKind][] =>
  names.split(/\s+/).map((name) => [name, { verb, flags }]);

export const STATEMENTS: ReadonlyMap<string, StatementKind> = new Map([
  ...kinds('select', '', 'SelectStmt'),
  ...kinds('insert', 'w', 'InsertStmt'),
  ...kinds('update', 'w', 'UpdateStmt'),
  ...kinds('delete', 'w', 'DeleteStmt'),
  ...kinds('merge', 'w', 'MergeStmt'),
  ...kinds('truncate', 'w', 'TruncateStmt'),
  ...kinds('copy', 'c', 'CopyStmt'),
  ...kinds('explain', '', 'ExplainStmt'),
  ...kinds('show', '', 'VariableShowStmt'),
  ...kinds('set', '', 'VariableSetStmt ConstraintsSetStmt'),
  ...kinds('discard', '', 'DiscardStmt'),
  ...kinds('begin', '', 'TransactionStmt'),
  ...kinds('prepare', '', 'PrepareStmt'),
  ...kinds('execute', '', 'ExecuteStmt'),
  ...kinds('deallocate', '', 'DeallocateStmt'),
  ...kinds('declare', '', 'DeclareCursorStmt'),
  ...kinds('fetch', '', 'FetchStmt'),
  ...kinds('close', '', 'ClosePortalStmt'),
  ...kinds('listen', '', 'ListenStmt'),
  ...kinds('unlisten', '', 'UnlistenStmt'),
  // PostgreSQL allows NOTIFY in read-only transactions; other sessions act upon it, so we do not.
  ...kinds('notify', 'w', 'NotifyStmt'),
  ...kinds('do', 'wo', 'DoStmt'),
  ...kinds('call', 'w', 'CallStmt'),
  ...kinds('lock', '', 'LockStmt'),
  // These four change no data but rewrite files; PostgreSQL allows them in read-only transactions.
  ...kinds('vacuum', 'w', 'VacuumStmt'),
  ...kinds('cluster', 'w', 'ClusterStmt'),
  ...kinds('reindex', 'w', 'ReindexStmt'),
  ...kinds('checkpoint', 'w', 'CheckPointStmt'),
  ...kinds('refresh', 'w', 'RefreshMatViewStmt'),
  // Loads a library into the server: its code may do anything.
  ...kinds('load', 'wo', 'LoadStmt'),
  ...kinds('comment', 'd', 'CommentStmt'),
  ...kinds('security label', 'd', 'SecLabelStmt'),
  ...kinds('grant', 'd', 'GrantStmt GrantRoleStmt'),
  ...kinds('import foreign schema', 'd', 'ImportForeignSchemaStmt'),
  ...kinds('reassign owned', 'd', 'ReassignOwnedStmt'),
  ...kinds('drop owned', 'd', 'DropOwnedStmt'),
  // ALTER SYSTEM, ALTER ROLE … SET and ALTER DATABASE … SET decide what read-only mode later sessions have.
  ...kinds('alter system', 'de', 'AlterSystemStmt'),
  ...kinds('alter', 'de', 'AlterRoleSetStmt AlterDatabaseSetStmt'),
  ...kinds(
    'create',
    'd',
    `CreateStmt CreateTableAsStmt CreateSchemaStmt CreateTableSpaceStmt CreateExtensionStmt CreateFdwStmt
     CreateForeignServerStmt CreateForeignTableStmt CreateUserMappingStmt CreatePolicyStmt CreateAmStmt CreateTrigStmt
     CreateEventTrigStmt CreatePLangStmt CreateRoleStmt CreateSeqStmt DefineStmt CreateDomainStmt CreateOpClassStmt
     CreateOpFamilyStmt IndexStmt CreateStatsStmt CreateFunctionStmt RuleStmt CompositeTypeStmt CreateEnumStmt
     CreateRangeStmt ViewStmt CreatedbStmt CreateConversionStmt CreateCastStmt CreateTransformStmt CreatePublicationStmt
     CreateSubscriptionStmt`,
  ),
  ...kinds(
    'alter',
    'd',
    `AlterTableStmt AlterCollationStmt AlterDomainStmt AlterDefaultPrivilegesStmt AlterTableSpaceOptionsStmt
     AlterTableMoveAllStmt AlterExtensionStmt AlterExtensionContentsStmt AlterFdwStmt AlterForeignServerStmt
     AlterUserMappingStmt AlterPolicyStmt AlterEventTrigStmt AlterRoleStmt AlterSeqStmt AlterOpFamilyStmt AlterStatsStmt
     AlterFunctionStmt RenameStmt AlterObjectDependsStmt AlterObjectSchemaStmt AlterOwnerStmt AlterOperatorStmt
     AlterTypeStmt AlterEnumStmt AlterDatabaseStmt AlterDatabaseRefreshCollStmt AlterTSDictionaryStmt
     AlterTSConfigurationStmt AlterPublicationStmt AlterSubscriptionStmt ReplicaIdentityStmt`,
  ),
  ...kinds(
    'drop',
    'd',
    'DropStmt DropTableSpaceStmt DropUserMappingStmt DropRoleStmt DropdbStmt DropSubscriptionStmt',
  ),
  // Parts of other statements, which the grammar wraps in nodes of their own; they are walked like any node.
  ...kinds('return', '', 'ReturnStmt'),
  ...kinds('unknown', 'wdo', 'PLAssignStmt SetOperationStmt'),
]);

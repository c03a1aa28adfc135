/**
 * Every number of the DHT. First what the protocol fixes or what the reference does and others count on
 * (opendht.md 22), then our own bounds, each with its reason.
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** Of the protocol, or as the reference does it. */
export const PROTOCOL = {
  /** Nodes of a bucket, nodes in a list, nodes that hold a value. */
  targetNodes: 8,
  /** Candidates of a search that are not bad. */
  searchNodes: 14,
  /** Requests of a search that are under way at a time. */
  searchAlpha: 4,
  listenNodes: 4,
  requestAttempts: 3,
  /** Before the first attempt; doubled, plus a quarter second of jitter, with each. */
  requestBaseMs: 0.5 * SECOND,
  requestJitterMs: 0.25 * SECOND,
  /** A node is good when it answered within the first and was heard within the second. */
  nodeGoodMs: 120 * MINUTE,
  nodeSilentMs: 10 * MINUTE,
  tokenSecretMinMs: 15 * MINUTE,
  tokenSecretMaxMs: 45 * MINUTE,
  /** How long the asker trusts a token. */
  tokenFreshMs: 10 * MINUTE,
  maxTokenBytes: 64,
  /** A listen lives 30 s and is renewed 10 s before its end. */
  listenRefreshMs: 20 * SECOND,
  /** A storing node keeps a listener that long after its last listen. */
  listenerKeptMs: 10 * MINUTE,
  /** A listen goes on that long after its last local listener left. */
  listenLingerMs: 60 * SECOND,
  reannounceMarginMs: 10 * SECOND,
  inlineValues: 50,
  inlineBytes: 600,
  partBytes: 1280,
  partsTotalMs: 10 * SECOND,
  partsSilentMs: 3 * SECOND,
  /** Size of a value that is stored, and the same packed. */
  maxValueBytes: 65_536,
  maxPackedBytes: 65_536 + 32,
  /** A push is cut into several updates of about this size. */
  pushBytes: 57_344,
  requestsPerSource: 1024,
  requestsTotal: 8192,
  searchIdleMs: 62 * MINUTE,
  authFailures: 3,
  maintenanceFirstMs: [3 * SECOND, 5 * SECOND],
  maintenanceBusyMs: [5 * SECOND, 25 * SECOND],
  maintenanceIdleMs: [60 * SECOND, 180 * SECOND],
  cleanupMs: [2 * MINUTE, 6 * MINUTE],
  bucketRefreshMs: 10 * MINUTE,
  neighbourhoodChangedMs: 150 * SECOND,
  bootstrapFirstMs: 10 * SECOND,
  /** Pauses of peer discovery while nobody is there: doubled from the one to the other. */
  discoveryFirstMs: 10 * SECOND,
  discoveryMaxMs: MINUTE,
  /** Between two rounds of handing over what others are closer to, and the least life that is worth it. */
  republishMs: 10 * MINUTE,
  republishLeastLifeMs: 10 * MINUTE,
  /** A search is lost when that many of its closest nodes, or all, are gone. */
  badNodesInRow: 25,
  /** The same as `listenRefreshMs` for a node whose address does not change: 5 min less 10 s. */
  listenRefreshStableMs: 290 * SECOND,
} as const;

/** Ours. */
export const LIMITS = {
  /** Known nodes of a family. A search looks at all of them once; 2048 are a sixth of a megabyte. */
  nodes: 2048,
  /** Buckets of a table: the own id shares 160 bits with nobody but a forger; beyond 32 there is nobody to find. */
  buckets: 32,
  /** Searches at a time: each get, put or listen on a key that is in use makes one. */
  searches: 512,
  /** Nodes of a search, bad ones included: enough to pass a whole neighbourhood that died. */
  searchKnown: 64,
  /** Gets, puts and listens of the program under way, permanent puts included. */
  operations: 4096,
  /** Different values that one get or listen tells of; the reference's number for listens. */
  valuesPerOperation: 4096,
  /** A value that so many nodes gave is not asked for one by one any more: no single one of them made it up. */
  giversPerValue: 2,
  /** A node that has more values than fit into a reply is asked for them one by one for so long. */
  restPatienceMs: 60 * SECOND,
  /** Bytes of values that all listens remember, beside their gets: a value told of twice is the price of a smaller one. */
  heardBytes: 8 * 2 ** 20,
  /** Storing nodes that one heard value is expected of: four at a time, and those that came and went in its lifetime. */
  holdersPerValue: 32,
  /** Where pushes may come in: four nodes for each of a quarter of all operations. */
  sockets: 4096,
  /** Listens that nobody wants any more and that go on for a minute. */
  lingeringListens: 256,
  /** Contents under one value id: more than one only by forgery. */
  variantsPerValue: 8,
  /** Events that wait for the program, and datagrams that wait for the driver: both are fetched after each turn. */
  events: 16_384,
  outputs: 16_384,
  /** A query with all four filters and a user type of 400 bytes. */
  queryBytes: 512,
  /** Requests under way. */
  requests: 4096,
  /** Bytes in requests under way, values counted once however many listeners they go to. */
  requestBytes: 8 * 2 ** 20,
  /** Then a search tries again. */
  refusedPauseMs: SECOND,
  /** A node that did not answer by then is no longer waited for: the search asks the next one as well. */
  lateMinMs: 100,
  lateMaxMs: 500,
  /** Bootstrap addresses, after names are resolved. */
  bootstrapAddresses: 64,
  /** A station must come back soon after its line does, so the repeat ends at minutes, not at the reference's day. */
  bootstrapMaxMs: 5 * MINUTE,
  /** While connected they are pinged that often: two halves of a DHT that lost each other are one again after it. */
  bootstrapCheckMs: 30 * MINUTE,
  /** A search that knows nobody waits that long for the bootstrap before it gives up. */
  searchPatienceMs: 10 * SECOND,
  /** Below so many known nodes every newcomer is asked back, place in the table or not: when all near ones die it counts. */
  wellKnown: 64,
  /** New nodes being asked whether they are there; what comes beyond them waits for maintenance. */
  verifications: 32,
  /** Silent nodes pinged in one round of maintenance. */
  pingsPerRound: 4,
  /** A node without a place in the table is offered to it when it speaks after such a pause. */
  offerPauseMs: SECOND,
  blacklist: 1024,
  /** Different addresses of ours that others report, of each family; the reference's number. */
  reportedAddresses: 32,
  /** A lost search lets all nodes be tried again, yet not more often: a station without a line is to be quiet. */
  lostPauseMs: 5 * MINUTE,
  /** Sources whose rate is remembered; those that have been quiet are forgotten first. */
  rateSources: 8192,
  /** Signatures and certificates of strangers checked in a second: an RSA-4096 check takes half a millisecond on a board. */
  checksPerSource: 64,
  checksTotal: 256,

  /** Stored for others. */
  storageBytes: 16 * 2 ** 20,
  storageBytesPerKey: 2 ** 20,
  /** A stored value costs some 400 bytes beside its content. */
  storageValues: 16_384,
  storageValuesPerKey: 4096,
  /** Listeners of others, in all, on one key, and from one source. */
  listeners: 4096,
  listenersPerKey: 512,
  listenersPerSource: 256,
  /** Own values kept here for others. */
  ownValues: 1024,

  /** Peer discovery: the largest datagram that is read, and how many a second of one source and in all. */
  discoveryBytes: 8 * 2 ** 10,
  discoveryPerSource: 4,
  discoveryTotal: 32,

  /** Nodes kept in the state file: two full tables. */
  stateNodes: 2 * 32 * 8,
  /** Stored values read from one. */
  stateValues: 16_384,
  /** The largest state file that is written or read: all that is stored, each value with its key, source and dates. */
  stateBytes: 18 * 2 ** 20,
  /** How often it is written, when something changed; the first time sooner, so that a new station can lose its power. */
  stateFirstSaveMs: MINUTE,
  stateSaveMs: 10 * MINUTE,
  /** A large file is written less often, so that no more than this is written in ten minutes: 144 MB a day at worst. */
  stateBytesPerSave: 2 ** 20,
  /** Nodes of the state file that are pinged in one round while we are connected to nobody. */
  rememberedPings: 8,

  /** Values that are handed over in one round, and at a time: each goes to eight nodes. */
  republishValues: 1024,
  republishAtOnce: 16,
  /** A value is forgotten here when that many others took it: half of those that should hold it. */
  republishAcks: 4,
  /** A node that leaves hands over for so long; a service manager does not wait for ever. */
  leaveMs: 5 * SECOND,

  /** Packed values in one reply: a get carries no token, so its answer must not be a flood at a forged address. */
  replyBytes: 256 * 2 ** 10,
  /** Selected fields in one reply: they do not come in parts, and a datagram has 65,507 bytes. */
  fieldsBytes: 57_344,
  /** Half-received messages, in all and from one address. */
  assemblies: 512,
  assembliesPerSource: 128,
  /** Bytes held by half-received messages, with what keeping each part costs. */
  assemblyBytes: 8 * 2 ** 20,
  /** Announced bytes taken from one message. Further values are skipped as if too large. */
  messageBytes: 2 ** 20,
  /** Parts of one value: a sender that cuts them smaller than 64 bytes is up to no good. */
  partsPerValue: 1024,
  /** Part datagrams sent to one address in one go, and the pause after them: receive buffers hold about a hundred. */
  partBurst: 32,
  partPauseMs: 2,
  /** To all addresses in one go: at most two thirds of a megabyte into the queue of our own line. */
  partBurstTotal: 512,
  /** Addresses that are being sent parts, and packed bytes that wait. */
  partDestinations: 1024,
  /** Of these bytes for one address: two full replies, so that one asker does not take the room of all. */
  partBytesPerDestination: 512 * 2 ** 10,
  partQueueBytes: 4 * 2 ** 20,
} as const;

/** Program name in `v`; informative only. */
export const VERSION_NAME = 'dw1';

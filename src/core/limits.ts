// Bounds that several floors check, each before it trusts its caller. One number each, here.

/** Most copies of a redundancy policy. */
export const MAX_COPIES = 7;
/** Largest weight of a member: each unit is 128 points on the ring. */
export const MAX_WEIGHT = 64;
/** Name of a zone. */
export const ZONE_PATTERN = /^[\w.-]{1,64}$/;
/** Longest path of a unix socket in bytes: sun_path less its end. */
export const MAX_SOCKET_PATH_BYTES = 107;

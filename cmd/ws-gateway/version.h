/* The protocol version that a client names in its SatAuthReq. */
#ifndef WS_GATEWAY_VERSION_H
#define WS_GATEWAY_VERSION_H

enum version_check { VERSION_FITS, VERSION_UNREADABLE, VERSION_OTHER };

/*
 * What follows the last dot must be v<major>_<minor>; the server speaks 1_4 and serves clients of the same
 * major and no greater minor.
 */
enum version_check version_check(const char *text);

#endif

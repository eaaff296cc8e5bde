/*
 * The certificate and the key that a tool listens with, LISTEN_TLS_CERT and LISTEN_TLS_KEY, whatever library
 * reads them.
 */
#ifndef LEYDEN_TLS_FILES_H
#define LEYDEN_TLS_FILES_H

struct tls_files {
	char *chain, *key; /* PEM files; NULL: no TLS */
	/* Takes them for the connections that come from now on. NULL, or what is wrong with which of them. */
	const char *(*read)(const char *chain, const char *key);
};

/* Reads them at the start; what is wrong ends in service_config_error(). */
void tls_files_check(const struct tls_files *files);
/* Reads them again: they may have been renewed. What is wrong is logged, and what was read before stays. */
void tls_files_reload(const struct tls_files *files);

#endif

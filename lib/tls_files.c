/* The certificate and the key that a tool listens with. */
#include "tls_files.h"

#include <stddef.h>

#include "log.h"
#include "service.h"

void
tls_files_check(const struct tls_files *files)
{
	const char *error;

	if ((files->chain == NULL) != (files->key == NULL))
		service_config_error(files->chain == NULL ? "LISTEN_TLS_CERT" : "LISTEN_TLS_KEY",
		    "is not set, and the other of the two is");
	error = files->chain != NULL ? files->read(files->chain, files->key) : NULL;
	if (error != NULL)
		service_config_error("LISTEN_TLS_CERT", "%s", error);
}

void
tls_files_reload(const struct tls_files *files)
{
	const char *error;

	if (files->chain == NULL)
		return;
	error = files->read(files->chain, files->key);
	if (error != NULL)
		log_error("certificate-kept", "variable=LISTEN_TLS_CERT error=%s", log_quote(error));
	else
		log_info("certificate-read", "file=%s", log_quote(files->chain));
}

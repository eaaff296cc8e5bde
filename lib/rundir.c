/* The run directory and the sockets in it. */
#include "rundir.h"

#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "peer.h"
#include "xalloc.h"

char *
rundir_resolve(const char *configured)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (configured != NULL)
		return xstrdup(configured);
	if (xdg != NULL && xdg[0] != '\0')
		return xasprintf("%s/leyden", xdg);
	return xstrdup("/run/leyden");
}

int
rundir_make(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
		log_error("run-directory", "variable=LEYDEN_RUN_DIR path=%s error=%s", dir,
		    log_quote(strerror(errno)));
		return -1;
	}
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || chmod(dir, 0700) != 0) {
		log_error("run-directory", "variable=LEYDEN_RUN_DIR path=%s error=%s", dir,
		    log_quote("not a directory of ours"));
		return -1;
	}
	return 0;
}

char *
rundir_socket_name(const char *tool, unsigned instance, unsigned number)
{
	if (strncmp(tool, "pg-", 3) == 0)
		return xasprintf("%s-%u", tool, instance);
	if (strcmp(tool, "ws-gateway") == 0)
		return xasprintf("%s-%u", tool, number);
	return xstrdup(tool);
}

/* Those of equal length are in the order of their numbers. */
static int
by_number(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t n = strlen(x), m = strlen(y);

	return n != m ? (n > m) - (n < m) : strcmp(x, y);
}

/* False: the path is too long. */
static bool
address_of(const char *path, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof addr->sun_path)
		return false;
	strcpy(addr->sun_path, path);
	return true;
}

/* A backlog that is full has a listener, too. */
static bool
is_listened_to(const char *path)
{
	struct sockaddr_un addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is = fd >= 0 && address_of(path, &addr) &&
		  (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return is;
}

char **
rundir_sockets(const char *tool, size_t *n)
{
	char *name = xasprintf("%s-*", tool), *pattern = peer_path(name), **found;
	size_t dir = (size_t)(strrchr(pattern, '/') + 1 - pattern);
	glob_t g = { 0 };

	if (glob(pattern, 0, NULL, &g) != 0)
		g.gl_pathc = 0;
	found = xcalloc(g.gl_pathc + 1, sizeof *found);
	*n = 0;
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (is_listened_to(g.gl_pathv[i]))
			found[(*n)++] =
			    xmemdup0(g.gl_pathv[i] + dir, strlen(g.gl_pathv[i]) - dir - strlen(".sock"));
	qsort(found, *n, sizeof *found, by_number);
	globfree(&g);
	free(pattern);
	free(name);
	return found;
}

int
rundir_listen(const char *socket_name)
{
	char *path = peer_path(socket_name);
	struct sockaddr_un addr;
	int fd = -1;

	if (!address_of(path, &addr)) {
		log_error("socket", "path=%s error=%s", path, log_quote("the path is too long for a socket"));
		goto out;
	}
	if (is_listened_to(path)) {
		log_error("socket", "path=%s error=%s", path, log_quote("another process serves it"));
		goto out;
	}
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 128) != 0) {
		log_error("socket", "path=%s error=%s", path, log_quote(strerror(errno)));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
out:
	free(path);
	return fd;
}

int
rundir_share(const char *socket_name, gid_t group)
{
	char *path = peer_path(socket_name);
	char *dir = xmemdup0(path, (size_t)(strrchr(path, '/') - path));
	int result = 0;

	if (chown(dir, (uid_t)-1, group) != 0 || chmod(dir, 0710) != 0 ||
	    chown(path, (uid_t)-1, group) != 0 || chmod(path, 0660) != 0) {
		log_error("socket", "path=%s error=%s", path, log_quote(strerror(errno)));
		result = -1;
	}
	free(dir);
	free(path);
	return result;
}

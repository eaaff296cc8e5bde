/* What a tool can still do once it is set up. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "log.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_SANITIZERS 1 /* they start threads and look at the process from there */
#else
#define WITH_SANITIZERS 0
#endif

/* Memory, time, signals, the files and sockets that there are. */
static const char *const everyones[] = { "read", "write", "readv", "writev", "close", "close_range", "fstat",
	"lseek", "mmap", "mprotect", "munmap", "mremap", "madvise", "brk", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "sigaltstack", "restart_syscall", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "eventfd2", "pipe2", "poll", "ppoll", "select", "pselect6", "timerfd_create",
	"timerfd_settime", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "clock_gettime",
	"clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getpid", "getppid", "gettid",
	"getuid", "geteuid", "getgid", "getegid", "getrandom", "getrusage", "getcpu", "sysinfo", "uname",
	"exit", "exit_group", "futex", "sched_yield", "sched_getaffinity", "getrlimit", "membarrier", "rseq",
	"set_robust_list", "tgkill", "fcntl", "ioctl", "dup", "dup3", "recvfrom", "recvmsg", "sendto",
	"sendmsg", "accept", "accept4", "connect", "bind", "listen", "shutdown", "getsockname", "getpeername",
	"getsockopt", "setsockopt", "socketpair" };

static const char *const readers[] = { "stat", "lstat", "newfstatat", "statx", "access", "faccessat",
	"faccessat2", "readlink", "readlinkat", "getdents64", "pread64", "statfs", "fstatfs", "fadvise64",
	"getcwd" };

static const char *const writers[] = { "open", "openat", "unlink", "unlinkat", "rename", "renameat",
	"renameat2", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "umask", "ftruncate", "fallocate",
	"pwrite64", "pwritev", "fsync", "fdatasync", "sync_file_range", "msync", "flock", "copy_file_range",
	"link", "linkat", "utimensat" };

static const char *const dialers[] = { "sendmmsg", "recvmmsg" };

/* Names that this system's kernel does not have are passed over. */
static bool
allow(scmp_filter_ctx filter, const char *const *names, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);

		if (call != __NR_SCMP_ERROR)
			ok &= seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
	}
	return ok;
}

#define ALLOW(filter, names) allow(filter, names, sizeof(names) / sizeof *(names))

/* Opening that cannot change anything. */
static bool
allow_opening(scmp_filter_ctx filter)
{
	const uint64_t changing = O_ACCMODE | O_CREAT | O_TRUNC;

	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
		   SCMP_A2(SCMP_CMP_MASKED_EQ, changing, O_RDONLY)) == 0 &&
	       seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
		   SCMP_A1(SCMP_CMP_MASKED_EQ, changing, O_RDONLY)) == 0;
}

static bool
fill(scmp_filter_ctx filter, unsigned allowed)
{
	bool dials = (allowed & SANDBOX_DIAL) != 0, writes = (allowed & SANDBOX_FILES) != 0;
	bool reads = dials || writes || (allowed & SANDBOX_READ) != 0;
	bool ok = ALLOW(filter, everyones);

	/* A limit may be asked for, not set. */
	ok &=
	    seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0, 0)) == 0;
	if (reads)
		ok &= ALLOW(filter, readers) && allow_opening(filter);
	else /* fstat() is this call with an empty path */
		ok &= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
			  SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH)) == 0;
	if (writes)
		ok &= ALLOW(filter, writers);
	if (dials) /* names are looked up by whatever the system has for it */
		ok &= ALLOW(filter, dialers) &&
		      seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 0) == 0;
	else
		ok &= seccomp_rule_add(
			  filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0)) == 0;
	return ok;
}

static bool
filter_calls(unsigned allowed)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	bool ok = filter != NULL && fill(filter, allowed) && seccomp_load(filter) == 0;

	seccomp_release(filter);
	return ok;
}

void
sandbox_enter(unsigned allowed)
{
	const struct rlimit none = { 0, 0 };

	if (allowed & SANDBOX_NONE)
		return;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    setrlimit(RLIMIT_CORE, &none) != 0)
		log_warning("sandbox", "error=%s", log_quote(strerror(errno)));
	if (!WITH_SANITIZERS && !filter_calls(allowed))
		log_warning("sandbox", "error=%s note=%s", log_quote(strerror(errno)),
		    log_quote("system calls are not filtered"));
}

#!/usr/bin/env python3
"""Runs every example of the documents: the lines that begin with "$ " in README.md's section "In a shell" and in the
EXAMPLES of the manual pages, as they are shown to a reader, beside a service in which rows come and go.

Each must succeed. Lines below one are what it prints; "..." there stands for anything. Ports are the test's own.
"""
import glob, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
DEADLINE = 60  # seconds for the examples of one document


def shown(page):
    """A manual page's EXAMPLES, as a terminal shows them."""
    text = subprocess.run(["mandoc", "-Tutf8", "-O", "width=200", page], check=True, capture_output=True, text=True).stdout
    text = re.sub(".\b", "", text)
    section = re.search(r"^EXAMPLES\n(.*?)(?=^\S|\Z)", text, re.S | re.M)
    return section.group(1).splitlines() if section else []


def of_readme():
    section = re.search(r"^## In a shell\n(.*?)(?=^## )", open("README.md").read(), re.S | re.M)
    return section.group(1).splitlines()


def examples(lines):
    """(command, lines that it prints) for each line that begins with "$ "."""
    found = []
    for line in lines:
        line = line.strip()
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line in ("", "```") or not found:
            found and found.append(None)  # the end of what it prints
        elif found[-1] is not None:
            found[-1][1].append(line)
    return [example for example in found if example]


def matches(expected, printed):
    def words(line):
        return " ".join(line.split())
    pattern = "\n".join(re.escape(words(line)).replace(r"\.\.\.", ".*") for line in expected)
    return re.fullmatch(pattern, "\n".join(words(line) for line in printed.strip().splitlines()), re.S)


class World:
    """A throwaway Postgres with a table of items, the service on it, and somebody who writes all the time."""

    def __init__(self):
        self.dir = tempfile.mkdtemp()
        os.chmod(self.dir, 0o711)
        self.url = subprocess.run(["scripts/postgres", "start", self.dir + "/pg"], check=True, capture_output=True, text=True,
                                  env=os.environ | {"LEYDEN_PG_OPTIONS": "fsync=off"}).stdout.strip()
        self.env = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ} | {
            "PATH": BUILD + "/bin:" + os.environ["PATH"], "DATABASE_URL": self.url, "LEYDEN_RUN_DIR": self.dir + "/run",
            "OFFSET_STORAGE_FILE": self.dir + "/log", "AUTH_MODE": "secure", "AUTH_JWT_ALG": "HS256",
            "AUTH_JWT_KEY": "local-development-key-minimum-32-symbols"}
        self.service = subprocess.Popen([BUILD + "/bin/leyden"], stderr=subprocess.PIPE, text=True, env=self.env | {
            "LISTEN_ADDRESS": "127.0.0.1", "WEBSOCKET_PORT": "0", "HTTP_API_PORT": "0", "WEBSOCKET_GATEWAYS": "1"})
        for line in self.service.stderr:
            ready = re.search(r"leyden: ready websocket=\S*:(\d+) http=\S*:(\d+)", line)
            if ready:
                break
            sys.stderr.write(line)
        self.ports = {"5133": ready.group(1), "5050": ready.group(2)}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.ports["5199"] = str(free.getsockname()[1])
        threading.Thread(target=self.service.stderr.read, daemon=True).start()
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", self.url], check=True, text=True, input="""
            SET client_min_messages = error;
            CREATE TABLE items (id text PRIMARY KEY, value text);
            CALL electric.electrify('items');
            INSERT INTO items VALUES ('row-17', 'stays');
            """)
        subprocess.run(["curl", "-sf", "-o", "/dev/null", "--retry", "20", "--retry-all-errors", "--retry-delay", "1",
                        "http://127.0.0.1:%s/readyz" % self.ports["5050"]], check=True)
        self.writer = subprocess.Popen(["psql", "-qX", self.url], stdin=subprocess.PIPE, text=True)
        self.writer.stdin.write("""
            DO $$ BEGIN LOOP
                INSERT INTO items VALUES ('1', 'a'); COMMIT;
                UPDATE items SET value = 'b' WHERE id = '1'; COMMIT;
                DELETE FROM items WHERE id = '1'; COMMIT;
                PERFORM pg_sleep(0.1);
            END LOOP; END $$;
            """)
        self.writer.stdin.flush()

    def end(self):
        self.writer.kill()
        self.service.terminate()
        self.service.wait()
        subprocess.run(["scripts/postgres", "remove", self.dir + "/pg"])
        shutil.rmtree(self.dir)

    def here(self, command):
        for known, own in self.ports.items():
            command = re.sub(r"\b%s\b" % known, own, command)
        return command

    def run(self, commands):
        """Runs them in one bash; for each what it printed on both outputs, and its exit status (None: never reached)."""
        where = tempfile.mkdtemp(dir=self.dir)
        script = "".join("{\n%s\n} >%s/out.%d 2>%s/err.%d\necho $? >%s/status.%d\n" % (
            self.here(c), where, i, where, i, where, i) for i, c in enumerate(commands))
        bash = subprocess.Popen(["bash", "-c", script], cwd=tempfile.mkdtemp(dir=self.dir), env=self.env,
                                stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            bash.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(bash.pid, signal.SIGTERM)  # what was left in the background
        except ProcessLookupError:
            pass
        bash.wait()

        def read(kind, i):
            try:
                return open("%s/%s.%d" % (where, kind, i)).read()
            except FileNotFoundError:
                return ""
        return [(read("out", i), read("err", i), read("status", i).strip()) for i in range(len(commands))]


def main():
    passed = failed = 0
    world = World()
    try:
        for name, lines in [("README.md", of_readme())] + [(p, shown(p)) for p in sorted(glob.glob("man/*.[78]"))]:
            found = examples(lines)
            if not found and name.endswith(".8"):
                print("not ok - %s: no example" % name)
                failed += 1
            for (command, expected), (out, err, status) in zip(found, world.run([c for c, _ in found])):
                good = status == "0" and (not expected or matches(expected, out))
                passed += bool(good)
                failed += not good
                print("%s - %s: %s" % ("ok" if good else "not ok", name, command))
                if not good:
                    print("  exit status %s; it printed: %s%s" % (status or "none: it did not end", out[-1500:], err[-1500:]))
    finally:
        world.end()
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


sys.exit(main())

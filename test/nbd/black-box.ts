// What libnbd (in Debian's python) asks when its strict mode is off: requests that no decent client would send, and the
// error number that the protocol wants for each. A connection lives on through all of it.

/** Needs NBD_URI of a volume `vol` of 40 MiB, and NBD_SOCKET where it is served without TLS. */
export const BLACK_BOX = `
import nbd, errno, os
uri = os.environ["NBD_URI"]
def expect(code, what, call):
    try:
        call()
    except nbd.Error as e:
        assert e.errnum == code, "%s: %s instead of %s" % (what, e.errno, errno.errorcode[code])
        return
    assert code == 0, what + ": no error"
def judge(structured):
    h = nbd.NBD()
    h.set_request_structured_replies(structured)
    h.set_uri_allow_local_file(True)
    h.connect_uri(uri)
    assert h.get_tls_negotiated() == uri.startswith("nbds")
    assert h.get_structured_replies_negotiated() == structured
    h.set_strict_mode(0)
    size = h.get_size()
    E, S = errno.EINVAL, errno.ENOSPC
    big = 33554433
    expect(E, "read past the end", lambda: h.pread(2, size - 1))
    expect(S, "write past the end", lambda: h.pwrite(b"xx", size - 1))
    expect(S, "zeroes past the end", lambda: h.zero(size, 1))
    expect(E, "trim past the end", lambda: h.trim(2, size - 1))
    expect(E, "trim of nothing", lambda: h.trim(0, 0))
    expect(E, "zeroes of nothing", lambda: h.zero(0, 0))
    expect(E, "long write", lambda: h.pwrite(b"x" * big, 0))
    expect(E, "cache past the end", lambda: h.cache(4096, size))
    expect(errno.ENOTSUP, "fast zero of a part", lambda: h.zero(4095, 0, nbd.CMD_FLAG_FAST_ZERO))
    expect(E, "fast zero on a trim", lambda: h.trim(4096, 0, nbd.CMD_FLAG_FAST_ZERO))
    h.cache(size, 0)
    h.zero(8192, 4096, nbd.CMD_FLAG_FAST_ZERO)
    expect(E, "unknown flag", lambda: h.zero(4096, 0, 0x80))
    expect(E, "df on a write", lambda: h.pwrite(b"x", 0, nbd.CMD_FLAG_DF))
    h.zero(33554432, 0)
    h.pwrite(b"abc", 1, nbd.CMD_FLAG_FUA)
    h.zero(100, 4, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE)
    h.trim(4096, 8192, nbd.CMD_FLAG_FUA)
    h.flush()
    if structured:
        assert h.pread(4, 0, nbd.CMD_FLAG_DF) == b"\\0abc"
    assert h.pread(4, 0) == b"\\0abc"
    h.pwrite(b"y" * (big - 1), 0)
    assert h.pread(big - 1, 0) == b"y" * (big - 1)
    h.shutdown()
judge(True)
judge(False)
h = nbd.NBD()
h.set_opt_mode(True)
h.set_tls(nbd.TLS_ALLOW)
h.connect_unix(os.environ["NBD_SOCKET"])
h.set_export_name("nobody")
try:
    h.opt_go()
    assert False, "an unknown export was attached"
except nbd.Error as e:
    assert e.errnum == errno.ENOENT, e.errno
h.set_export_name("vol")
h.opt_go()
assert not h.get_tls_negotiated()
h.pwrite(b"z", 0)
h.shutdown()
print("all as expected")
`;

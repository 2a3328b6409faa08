"""One suite of calls over the real and the simulated network: the same outcomes."""
import asyncio, socket
import grpc, pytest, numpy as np
from collections.abc import Callable, Awaitable
from cluster.live.network import LiveNetwork
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.wires import Wires, Quality
from cluster.simulated.fabric import Fabric
from cluster.simulated.trace import Trace
from cluster.simulated.network import SimulatedNetwork

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1",0)); return s.getsockname()[1]

class Seen:
    def __init__(self): self.log=[]; self.finished=None

SEEN = Seen()

async def echo(request, context):
    return b"echo:"+request
async def abort(request, context):
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing", (("why","because"),))
async def crash(request, context):
    raise ValueError("boo")
async def code(request, context):
    context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED); context.set_details("full"); return b"ignored"
async def meta(request, context):
    got={k:v for k,v in context.invocation_metadata()}
    await context.send_initial_metadata((("first","1"),))
    context.set_trailing_metadata((("last","9"),))
    return str(got.get("who")).encode()
async def hang(request, context):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        SEEN.log.append("cancelled"); raise
async def remaining(request, context):
    left=context.time_remaining()
    return b"none" if left is None else str(round(left)).encode()
async def count(request, context):
    for i in range(int(request)):
        yield str(i).encode()
async def count_write(request, context):
    for i in range(int(request)):
        await context.write(str(i).encode())
async def count_fail(request, context):
    for i in range(int(request)):
        yield str(i).encode()
    await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
async def forever(request, context):
    i=0
    try:
        while True:
            yield b"x"*1000
            i+=1
    finally:
        SEEN.log.append("closed")
async def total(requests, context):
    n=0
    async for r in requests: n+=int(r)
    return str(n).encode()
async def total_read(requests, context):
    n=0
    while True:
        r=await context.read()
        if r is grpc.aio.EOF: break
        n+=int(r)
    return str(n).encode()
async def early(requests, context):
    async for r in requests:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "first was bad")
async def chat(requests, context):
    async for r in requests:
        yield b"re:"+r
async def none(request, context):
    return None

H={
 "Echo":grpc.unary_unary_rpc_method_handler(echo),"Abort":grpc.unary_unary_rpc_method_handler(abort),
 "Crash":grpc.unary_unary_rpc_method_handler(crash),"Code":grpc.unary_unary_rpc_method_handler(code),
 "Meta":grpc.unary_unary_rpc_method_handler(meta),"Hang":grpc.unary_unary_rpc_method_handler(hang),
 "Remaining":grpc.unary_unary_rpc_method_handler(remaining),
 "None":grpc.unary_unary_rpc_method_handler(none),
 "Count":grpc.unary_stream_rpc_method_handler(count),"CountWrite":grpc.unary_stream_rpc_method_handler(count_write),
 "CountFail":grpc.unary_stream_rpc_method_handler(count_fail),"Forever":grpc.unary_stream_rpc_method_handler(forever),
 "Total":grpc.stream_unary_rpc_method_handler(total),"TotalRead":grpc.stream_unary_rpc_method_handler(total_read),
 "Early":grpc.stream_unary_rpc_method_handler(early),
 "Chat":grpc.stream_stream_rpc_method_handler(chat),
}
def register(server):
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T",H),))
    server.add_registered_method_handlers("t.T",H)

async def status(call):
    out=[]
    try:
        r=await call
        out.append(("reply", r))
    except grpc.aio.AioRpcError as e:
        out.append(("error", e.code().name, e.details() if e.code() not in (grpc.StatusCode.UNAVAILABLE,grpc.StatusCode.DEADLINE_EXCEEDED) else "", dict(e.trailing_metadata() or ())))
    except asyncio.CancelledError:
        out.append("cancelled")
    out.append((await call.code()).name); out.append(call.done()); out.append(call.cancelled())
    return out
async def drain(call):
    out=[]
    try:
        async for m in call: out.append(m)
    except grpc.aio.AioRpcError as e: out.append((e.code().name, e.details()))
    except asyncio.CancelledError: out.append("cancelled")
    return out

CASES={}
def case(f): CASES[f.__name__]=f; return f
def uu(ch,m): return ch.unary_unary("/t.T/"+m)
@case
async def unary(ch,srv,sleep): return await status(uu(ch,"Echo")(b"hi"))
@case
async def aborts(ch,srv,sleep): return await status(uu(ch,"Abort")(b"hi"))
@case
async def crashes(ch,srv,sleep): return await status(uu(ch,"Crash")(b"hi"))
@case
async def set_code(ch,srv,sleep): return await status(uu(ch,"Code")(b"hi"))
@case
async def none_reply(ch,srv,sleep): return await status(uu(ch,"None")(b"hi"))
@case
async def unknown_method(ch,srv,sleep): return await status(uu(ch,"Nope")(b"hi"))
@case
async def metadata(ch,srv,sleep):
    c=uu(ch,"Meta")(b"", metadata=(("who","me"),))
    return [await status(c), dict(await c.initial_metadata()), dict(await c.trailing_metadata())]
@case
async def deadline(ch,srv,sleep):
    SEEN.log.clear()
    c=uu(ch,"Hang")(b"", timeout=0.2); s=await status(c); await sleep(0.2); return [s, list(SEEN.log)]
@case
async def cancel(ch,srv,sleep):
    SEEN.log.clear()
    c=uu(ch,"Hang")(b""); await sleep(0.1); first=c.cancel(); again=c.cancel(); s=await status(c); await sleep(0.2); return [first,again,s,list(SEEN.log)]
@case
async def cancel_waiter(ch,srv,sleep):
    SEEN.log.clear()
    c=uu(ch,"Hang")(b"")
    async def w(): await c
    t=asyncio.get_running_loop().create_task(w()); await sleep(0.1); t.cancel()
    try: await t
    except asyncio.CancelledError: pass
    await sleep(0.2)
    return [c.cancelled(), list(SEEN.log)]
@case
async def time_left(ch,srv,sleep):
    return [await status(uu(ch,"Remaining")(b"", timeout=50)), await status(uu(ch,"Remaining")(b""))]
@case
async def done_callback(ch,srv,sleep):
    log=[]; c=uu(ch,"Echo")(b"x"); c.add_done_callback(lambda _: log.append("done")); await c; await sleep(0.05); return log
@case
async def server_stream(ch,srv,sleep): return [await drain(ch.unary_stream("/t.T/Count")(b"4")), await drain(ch.unary_stream("/t.T/CountWrite")(b"4")), await drain(ch.unary_stream("/t.T/CountFail")(b"2"))]
@case
async def stream_read(ch,srv,sleep):
    c=ch.unary_stream("/t.T/Count")(b"2"); out=[]
    while (m:=await c.read()) is not grpc.aio.EOF: out.append(m)
    out.append((await c.code()).name); out.append(await c.read() is grpc.aio.EOF); return out
@case
async def stream_cancel(ch,srv,sleep):
    SEEN.log.clear()
    c=ch.unary_stream("/t.T/Forever")(b""); got=[len(await c.read()) for _ in range(3)]; c.cancel()
    try: await c.read(); last='none'
    except asyncio.CancelledError: last='cancelled'
    await sleep(0.2)
    return [got,last,c.cancelled(), list(SEEN.log)]
@case
async def stream_deadline(ch,srv,sleep):
    c=ch.unary_stream("/t.T/Hang2" if False else "/t.T/Count")(b"0", timeout=1); return await drain(c)
async def agen(*xs):
    for x in xs: yield x
@case
async def client_stream(ch,srv,sleep):
    return [await status(ch.stream_unary("/t.T/Total")(agen(b"1",b"2"))), await status(ch.stream_unary("/t.T/Total")([b"1",b"5"])), await status(ch.stream_unary("/t.T/TotalRead")(agen(b"1",b"2"))), await status(ch.stream_unary("/t.T/Early")(agen(b"1",b"2")))]
@case
async def client_stream_write(ch,srv,sleep):
    c=ch.stream_unary("/t.T/Total")(); await c.write(b"4"); await c.write(b"5"); await c.done_writing(); await c.done_writing()
    s=await status(c)
    try: await c.write(b"1"); e=None
    except Exception as x: e=type(x).__name__
    return [s,e]
@case
async def write_after_half_close(ch,srv,sleep):
    c=ch.stream_stream("/t.T/Chat")(); await c.write(b"a"); r=await c.read(); await c.done_writing()
    try: await c.write(b"1"); e=None
    except Exception as x: e=(type(x).__name__, str(x))
    return [r,e, (await c.read()) is grpc.aio.EOF, (await c.code()).name]
@case
async def bad_iterator(ch,srv,sleep):
    async def bad():
        yield b"1"
        raise ValueError("x")
    return await status(ch.stream_unary("/t.T/Total")(bad()))
@case
async def both_stream(ch,srv,sleep): return await drain(ch.stream_stream("/t.T/Chat")(agen(b"1",b"2",b"3")))
@case
async def server_stops(ch,srv,sleep):
    c=uu(ch,"Hang")(b""); await sleep(0.1); await srv.stop(); s=await status(c)
    s2=await status(uu(ch,"Echo")(b"hi", timeout=5))
    return [s[0][:2],s[1:], s2[0][:2],s2[1:]]
@case
async def stream_server_stops(ch,srv,sleep):
    c=ch.stream_stream("/t.T/Chat")(); await c.write(b"a"); r=await c.read(); await srv.stop()
    try: x=await c.read()
    except grpc.aio.AioRpcError as e: x=e.code().name
    return [r,x]

async def scenario(name, client, server, peer, sleep):
    srv=await server.serve(peer, register)
    ch=client.channel(peer)
    try: return await CASES[name](ch,srv,sleep)
    finally: await srv.stop()

def real(name):
    async def go():
        port=free_port(); n=LiveNetwork({"b":f"127.0.0.1:{port}"}.__getitem__)
        m=LiveNetwork({"b":f"127.0.0.1:{port}"}.__getitem__)
        try: return await scenario(name, n, m, "b", asyncio.sleep)
        finally: await n.close()
    return asyncio.run(go())
def simulated(name):
    l=VirtualLoop(); f=Fabric(l, Wires(l, np.random.default_rng(1), Quality()), Trace())
    return l.run_until_complete(scenario(name, SimulatedNetwork(f,"a"), SimulatedNetwork(f,"b"), "b", asyncio.sleep))
@pytest.mark.parametrize("name", sorted(CASES))
def test_same(name):
    r=real(name); print(name, r)
    assert simulated(name)==r

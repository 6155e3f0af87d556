"""CRIU, which saves and restores trees of processes (criu.org), driven by its RPC.

``criu swrk`` serves one socket with the messages of CRIU's rpc.proto. Its command line would not
do: only by RPC does the restored process become a child of the caller (rst_sibling), who has to
reap it, and does the master of its terminal come back (orphan_pts_master). Of protocol buffers that
takes a page of code, less than a library.

None of this is loaded by any verb but checkpoint, restore and features.
"""

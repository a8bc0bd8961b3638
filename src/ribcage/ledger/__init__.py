"""The access contract: embedded EVM, its journal of signed transactions, and the view that decides."""

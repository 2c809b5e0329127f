"""How a message travels.

1. Inside a transaction `outbox.put(DoPizza(...))` validates the message and writes it as a row, beside
   whatever else the transaction changes: either both are there afterwards or neither.
2. After the commit the process's own `relay` hands the row to the broker from memory; what it could not
   hand over, any relay finds again in the outbox when the row's lease has run out.
3. What the broker confirmed is marked sent. What it did not confirm is sent again: at least once; and so
   is what it confirmed and nobody handled for long, for sent is not processed.
4. A worker receives it (`consumer.SafeConsumer`) and calls the function that `@handles(DoPizza)`.
5. `handling` runs that function in one transaction. Its last statement claims the message in the `inbox`
   and writes the answers to the outbox: a message that was handled before claims nothing and changes
   nothing. Effects happen exactly once.
6. Only then is the message acknowledged. A handler that raises is rolled back and recorded in the inbox
   (`failures`), which says when it is tried again, or that it is dead and waits for a human; so is one that
   takes its worker with it.

`messages` and `envelope` say what is sent, `models` what is kept, `outstanding` what is waited for,
`retention` what can be deleted; `testing` helps to try it out.
"""

package dev.gossamer.worker;

/**
 * Does the jobs of an action.
 *
 * @param <P> what the payload is read as
 */
@FunctionalInterface
public interface Handler<P> {
    /**
     * Does one.
     *
     * @param payload the step's input
     * @return anything that Jackson writes: the step's output
     * @throws Exception whatever makes the attempt fail
     */
    Object handle(P payload) throws Exception;
}

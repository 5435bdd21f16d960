import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Marks a method as one scenario: it returns if the broker keeps the rule and throws if not. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
@interface Rule {
    /** After this time the scenario has failed; between restarts each part has it anew. */
    int seconds() default 30;

    /** The original does not keep it, as the scenario says, but users want it. */
    boolean beyondOriginal() default false;
}
